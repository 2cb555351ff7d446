"""Limits of concurrent requests and of their time, and the end of requests whose caller has disconnected.

A body is read whole before a request takes a place, so a client that sends slowly holds a connection and nothing else.
If no place is free, a request is refused before its body is read. Event streams and health calls are not limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import DeadlineExpired, Unavailable, VitrineError
from vitrine.telemetry import get_logger
from vitrine.web.bodies import Bodies, ClientGone, has_body
from vitrine.web.problems import send_problem

_RETRY_AFTER_S: Final = 1.0

# The seconds a call may take, by the request's scope; None for a call that is neither counted nor timed.
TimeoutOf = Callable[[Scope], float | None]
# Whether a middleware applies to a call, by its method and path.
Applies = Callable[[str, str], bool]


class Admission:
    """ASGI middleware. Answers 503 with Retry-After if the service is full, and 504 if a request takes too long."""

    def __init__(self, app: ASGIApp, *, max_concurrent: int, timeout_of: TimeoutOf, bodies: Bodies) -> None:
        self._app = app
        self._max_concurrent = max_concurrent
        self._timeout_of = timeout_of
        self._bodies = bodies
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timeout_s = self._timeout_of(scope) if scope["type"] == "http" else None
        if timeout_s is None:
            await self._app(scope, receive, send)
            return
        if self._full:
            await send_problem(send, self._no_room())
            return
        try:
            body = await self._bodies.read(scope, receive) if has_body(scope) else None
        except VitrineError as error:
            await send_problem(send, error)
            return
        except ClientGone:
            return
        try:
            if self._full:  # the places were taken while the body arrived
                await send_problem(send, self._no_room())
                return
            self._running += 1
            try:
                await self._timed(scope, body.receiver(receive) if body else receive, send, timeout_s)
            finally:
                self._running -= 1
        finally:
            if body:
                self._bodies.release(body)

    @property
    def _full(self) -> bool:
        return self._running >= self._max_concurrent

    def _no_room(self) -> Unavailable:
        return Unavailable(
            "this service is at its limit of concurrent requests: try again in a moment", retry_after_s=_RETRY_AFTER_S
        )

    async def _timed(self, scope: Scope, receive: Receive, send: Send, timeout_s: float) -> None:
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._app(scope, receive, noting_send)
        except TimeoutError:
            if started or not limit.expired():
                raise
            await send_problem(send, DeadlineExpired(f"the request took longer than {timeout_s:g} s"))


class StopWhenGone:
    """ASGI middleware. Cancels the application when the client disconnects after its body was read.

    A disconnect in the middle of the body reaches the application as usual.
    """

    def __init__(self, app: ASGIApp, *, applies: Applies) -> None:
        self._app = app
        self._applies = applies
        self._log = get_logger("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._applies(scope["method"], scope["path"]):
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
