"""Rate limits per caller, applied before the body is read.

A caller that the embedder has just refused is held for a moment and then refused again without work. Otherwise a client
that retries in a loop would take the CPU from the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import EmbedderOverloaded, TooManyRequests
from vitrine.web import PROBLEM_CODE, DeclaredRoutes, TokenBuckets, address_of, caller_name, send_problem

# Shorter than the queue of a caller that the embedder refuses takes to drain, so the embedder is never idle.
_LONGEST_S: Final = 0.75
_MOST_HELD: Final = 2048
_MOST_CALLERS_KEPT: Final = 10_000
_RETRY_AFTER_S: Final = 1.0


class RateLimit:
    """ASGI middleware: a token bucket for each API key, or for each address without a key.

    Answers 429 with Retry-After. Public calls, such as health checks, are not counted.
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


class Patience:
    """ASGI middleware that delays callers the embedder has refused, for the (method, path) pairs in `wanted`.

    Delayed requests do not count as requests at work.
    """

    def __init__(
        self, app: ASGIApp, *, wanted: Callable[[str, str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._wanted = wanted
        self._clock = clock
        self._closed_until_s: OrderedDict[str, float] = OrderedDict()
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._wanted(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope)
        wait_s = self._closed_until_s.get(caller, 0.0) - self._clock()
        if wait_s > 0:
            await self._hold(wait_s)
            await send_problem(
                send,
                EmbedderOverloaded(
                    "the embedder cannot take more of your calls yet: wait for the seconds in Retry-After",
                    retry_after_s=_RETRY_AFTER_S,
                ),
            )
            return
        await self._app(scope, receive, send)
        if scope.get("state", {}).get(PROBLEM_CODE) == EmbedderOverloaded.code:
            self._closed_until_s[caller] = self._clock() + _LONGEST_S
            self._closed_until_s.move_to_end(caller)
            if len(self._closed_until_s) > _MOST_CALLERS_KEPT:
                self._closed_until_s.popitem(last=False)

    async def _hold(self, wait_s: float) -> None:
        if self._held >= _MOST_HELD:
            return
        self._held += 1
        try:
            await asyncio.sleep(wait_s)
        finally:
            self._held -= 1


def caller_of(scope: Scope) -> str:
    """The caller's identity for limits: the key, or the address without one."""
    key = caller_name(scope)
    if key is not None:
        return f"key:{key}"
    return f"address:{address_of(scope)}"


def opaque_caller(scope: Scope) -> str:
    """The caller's identity for the embedder: a hash, so that neither key nor address is passed on."""
    return hashlib.sha256(caller_of(scope).encode()).hexdigest()[:16]
