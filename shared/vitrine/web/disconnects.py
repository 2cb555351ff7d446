"""A request whose caller has gone is stopped: its answer is not wanted, and its work would delay others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.telemetry import get_logger

# Whether a call, by method and path, is stopped: one that changes nothing.
Wanted = Callable[[str, str], bool]


class StopWhenGone:
    """ASGI middleware. Cancels the application below when the client closes its connection after its body was read.

    A disconnect in the middle of the body reaches the application as always.
    """

    def __init__(self, app: ASGIApp, *, wanted: Wanted) -> None:
        self._app = app
        self._wanted = wanted
        self._log = get_logger("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._wanted(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        watch: asyncio.Task[Message] | None = None
        work: asyncio.Task[None]

        def gone(_watch: asyncio.Task[Message]) -> None:
            work.cancel()

        async def watched_receive() -> Message:
            nonlocal watch
            if watch is not None:
                return await asyncio.shield(watch)
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                watch = asyncio.ensure_future(receive())
                watch.add_done_callback(gone)
            return message

        work = asyncio.ensure_future(self._app(scope, watched_receive, send))
        try:
            await work
        except asyncio.CancelledError:
            if watch is None or not watch.done() or not work.cancelled():
                work.cancel()
                raise
            self._log.info("caller_gone", path=scope["path"])
        finally:
            if watch is not None:
                watch.remove_done_callback(gone)
                watch.cancel()
