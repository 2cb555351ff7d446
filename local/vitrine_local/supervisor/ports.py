"""Ports for the services. A reservation is a bound socket that never listens: the kernel then gives the port to nobody
who asks for any free one, while a server that asks for this very port (with SO_REUSEADDR, as they all do) gets it, the
first time and after every restart.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Self

from vitrine_local.errors import PortTaken

LOOPBACK = "127.0.0.1"


class PortReservation:
    """One reserved port on loopback, held until `close` or the end of its context."""

    def __init__(self, port: int = 0) -> None:
        """Reserve `port`, or any free one for 0. Raises PortTaken."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
        except OSError as error:
            self._socket.close()
            raise _refusal(port, error) from error
        self.port: int = self._socket.getsockname()[1]

    def hand_over(self) -> None:
        """The service is about to bind the port. Only Linux lets it while the reservation stands."""
        if sys.platform != "linux":
            self.close()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _refusal(port: int, error: OSError) -> PortTaken:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"port {port} is taken by another program; choose another with --port, or --port 0 for any free one"
        )
    if error.errno == errno.EACCES:
        return PortTaken(f"port {port} needs rights this user lacks; choose one above 1023 with --port")
    return PortTaken(f"port {port} cannot be used: {error.strerror}")
