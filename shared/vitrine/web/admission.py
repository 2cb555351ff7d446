"""How many requests are at work at once and how long one may take: beyond the first a caller is told to come back,
beyond the second the work is dropped. Event streams and health calls are outside of both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import DeadlineExpired, Unavailable
from vitrine.web.problems import send_problem

_RETRY_AFTER_S = 1.0

# (method, path) -> seconds the call may take; None where it is neither counted nor timed.
TimeoutOf = Callable[[str, str], float | None]


class Admission:
    """ASGI middleware. Answers 503 with Retry-After when full and 504 when a request takes too long."""

    def __init__(self, app: ASGIApp, *, max_concurrent: int, timeout_of: TimeoutOf) -> None:
        self._app = app
        self._max_concurrent = max_concurrent
        self._timeout_of = timeout_of
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timeout_s = self._timeout_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if timeout_s is None:
            await self._app(scope, receive, send)
            return
        if self._at_work >= self._max_concurrent:
            await send_problem(
                send, Unavailable("this service has as many requests at work as it may", retry_after_s=_RETRY_AFTER_S)
            )
            return
        self._at_work += 1
        try:
            await self._timed(scope, receive, send, timeout_s)
        finally:
            self._at_work -= 1

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
