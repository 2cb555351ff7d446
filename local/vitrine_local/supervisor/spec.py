"""The description of one service, and the reservation of its port."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from vitrine_local.errors import PortTaken
from vitrine_local.supervisor.health import Probe

LOOPBACK = "127.0.0.1"

# Repairs what kept a service from starting, given its last lines of output. Returns what was done; None if nothing was.
Repair = Callable[[Sequence[str]], str | None]


class PortReservation:
    """A reserved port on loopback, held until `close` or the end of the context.

    It is a bound socket that never listens. The kernel then gives the port to no program that asks for any free port,
    while a server that binds this very port with SO_REUSEADDR, as all our servers do, gets it at every start.
    """

    def __init__(self, port: int = 0) -> None:
        """Reserve `port`; 0 takes any free one. Raises PortTaken."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
        except OSError as error:
            self._socket.close()
            raise _port_error(port, error) from error
        self.port: int = self._socket.getsockname()[1]

    def hand_over(self) -> None:
        """Call this before the service binds the port. Only Linux allows the bind while the reservation is held."""
        if sys.platform != "linux":
            self.close()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _port_error(port: int, error: OSError) -> PortTaken:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} is taken by another program; choose another with --port, or --port 0 for any free one"
        )
    if error.errno == errno.EACCES:
        return PortTaken(f"port {port} needs rights this user lacks; choose one above 1023 with --port")
    return PortTaken(f"port {port} cannot be used: {error.strerror}")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service: command, environment, dependencies, and its health checks.

    command: None if the service runs elsewhere. It is then waited for, but never started, restarted or stopped.
    after: the services that must be ready before this one starts.
    stdin: what the command reads from standard input; less than a pipe's buffer (64 KiB).
    liveness: a service that fails this check for `hung_after_s` is killed and restarted. None: never checked.
    niceness: added to the supervisor's own nice value once the service is ready.
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
