"""One request and its answer on a connection, and the transport that closes when the protocol allows it."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# The connection stays open if this much of a request's body, or less, is left when it is answered.
_KEPT_REST_BYTES: Final = 262_144


class EdgeCycle(RequestResponseCycle):
    """One request and its answer. `status` is 0 until the answer begins."""

    status = 0

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            # A client that still waits for "100 Continue" may or may not send the body, so what follows is ambiguous.
            if self.waiting_for_100_continue or (self.more_body and not self._rest_is_small()):
                self.keep_alive = False
        await super().send(message)

    def _rest_is_small(self) -> bool:
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                return value.isdigit() and len(value) < 12 and int(value) <= _KEPT_REST_BYTES
        return False


class Closing(Protocol):
    """A connection that decides when it closes."""

    closing: bool

    def close(self) -> None: ...


class ClosingTransport:
    """The connection's transport, except that `close` is the connection's."""

    def __init__(self, transport: asyncio.Transport, connection: Closing) -> None:
        self._transport = transport
        self._connection = connection
        self.write = transport.write
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def is_closing(self) -> bool:
        return self._connection.closing or self._transport.is_closing()

    def close(self) -> None:
        self._connection.close()
