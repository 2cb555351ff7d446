"""What the supervisor must know of a service to run it, and how often it may die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vitrine_local.supervisor.ports import PortReservation
from vitrine_local.supervisor.probes import Probe


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service: its command and environment, what must be ready before it, and how to see that it is ready.

    `command` is None for a service that runs elsewhere: it is waited for, never started, restarted or stopped.
    """

    name: str
    probe: Probe
    command: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    reservation: PortReservation | None = None
    start_timeout_s: float = 180.0
    stop_grace_s: float = 10.0

    @property
    def port(self) -> int | None:
        return self.reservation.port if self.reservation else None


@dataclass(slots=True)
class RestartPolicy:
    """Restarts come at once at first, then ever later; after `max_quick_deaths` in a row the policy gives up.

    A death is quick when the process lived less than `quick_s` seconds.
    """

    quick_s: float = 15.0
    max_quick_deaths: int = 6
    first_delay_s: float = 0.2
    max_delay_s: float = 10.0
    _quick_deaths: int = 0

    def died(self, *, lived_s: float) -> float | None:
        """Seconds to wait before the next start, or None to give up."""
        self._quick_deaths = self._quick_deaths + 1 if lived_s < self.quick_s else 0
        if self._quick_deaths >= self.max_quick_deaths:
            return None
        return min(self.max_delay_s, self.first_delay_s * 2.0 ** max(0, self._quick_deaths - 1))
