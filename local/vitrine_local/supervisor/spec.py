"""What the supervisor must know of a service to run it, and how long it waits before it starts one again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vitrine_local.supervisor.ports import PortReservation
from vitrine_local.supervisor.probes import Probe

# Mends what kept a service from starting, given the last lines of its output. Returns what was done, or None.
Repair = Callable[[Sequence[str]], str | None]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service: its command and environment, what must be ready before it, and how to see that it is ready.

    `command` is None for a service that runs elsewhere: it is waited for, never started, restarted or stopped.
    `stdin` is what the command reads from standard input. `liveness` answers None while the service is alive; one that
    is silent for `hung_after_s` is killed and started again.
    """

    name: str
    probe: Probe
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    reservation: PortReservation | None = None
    start_timeout_s: float = 300.0
    stop_grace_s: float = 10.0
    niceness: int = 0
    stdin: bytes = field(default=b"", repr=False)
    liveness: Probe | None = None
    hung_after_s: float = 20.0
    repair: Repair | None = None

    @property
    def port(self) -> int | None:
        return self.reservation.port if self.reservation else None


@dataclass(slots=True)
class RestartPolicy:
    """A service is started again for ever: at once at first, then after ever longer pauses.

    A death is quick when the process lived less than `quick_s` seconds; one that lived longer begins a new count.
    """

    quick_s: float = 60.0
    first_delay_s: float = 0.2
    max_delay_s: float = 30.0
    _quick_deaths: int = 0

    def died(self, *, lived_s: float) -> float:
        """Seconds to wait before the next start."""
        self._quick_deaths = self._quick_deaths + 1 if lived_s < self.quick_s else 1
        doublings = min(self._quick_deaths - 1, 20)
        return min(self.max_delay_s, self.first_delay_s * 2.0**doublings)
