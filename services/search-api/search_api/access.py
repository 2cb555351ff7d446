"""How often a caller may call, decided before a body is read."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import TooManyRequests
from vitrine.web import DeclaredRoutes, TokenBuckets, address_of, caller_name, send_problem


class RateLimit:
    """ASGI middleware: a token bucket for each API key, or for each address where there is no key.

    Answers 429 with Retry-After. Calls that are open to all, health calls among them, are not counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: DeclaredRoutes,
        per_s: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._routes = routes
        self._per_s = per_s
        self._buckets = TokenBuckets(per_s=per_s, burst=burst, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = scope["type"] == "http" and self._per_s > 0
        if not counted or self._routes.is_open(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        wait_s = self._buckets.take(caller_of(scope))
        if wait_s > 0:
            error = TooManyRequests(f"more than {self._per_s:g} requests a second", retry_after_s=wait_s)
            await send_problem(send, error)
            return
        await self._app(scope, receive, send)


def caller_of(scope: Scope) -> str:
    """Who calls, for limits: the key, or the address of a caller without one."""
    key = caller_name(scope)
    if key is not None:
        return f"key:{key}"
    return f"address:{address_of(scope)}"
