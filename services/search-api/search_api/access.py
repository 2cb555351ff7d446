"""How often a caller may call, decided before a body is read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import TooManyRequests
from vitrine.web import DeclaredRoutes, caller_name, send_problem

_MAX_CALLERS_KEPT: Final = 10_000


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
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> tokens, as of when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = scope["type"] == "http" and self._per_s > 0
        if not counted or self._routes.is_open(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        wait_s = self._take(caller_of(scope))
        if wait_s > 0:
            error = TooManyRequests(f"more than {self._per_s:g} requests a second", retry_after_s=wait_s)
            await send_problem(send, error)
            return
        await self._app(scope, receive, send)

    def _take(self, caller: str) -> float:
        """Take a token; returns the seconds until there is one where there is none."""
        now_s = self._clock()
        tokens, as_of_s = self._buckets.get(caller, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - as_of_s) * self._per_s)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now_s)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _MAX_CALLERS_KEPT:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_s


def caller_of(scope: Scope) -> str:
    """Who calls, for limits: the key, or the address of a caller without one."""
    key = caller_name(scope)
    if key is not None:
        return f"key:{key}"
    client = scope.get("client")
    return f"address:{client[0] if client else 'unknown'}"
