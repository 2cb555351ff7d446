"""Callers that ignore Retry-After. A caller that the embedder had no room for and that asks again at once is refused
after a pause and without any work: a client that asks in a loop would otherwise take the processor from the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from search_api.access import caller_of
from vitrine.errors import EmbedderOverloaded
from vitrine.web import problem_code, send_problem

# Less than the embedder has queued for a caller that it refuses, so that its queue never runs dry meanwhile.
_LONGEST_S: Final = 0.75
_MOST_HELD: Final = 2048
_MOST_CALLERS_KEPT: Final = 10_000
_RETRY_AFTER_S: Final = 1.0


class Patience:
    """ASGI middleware for the calls that `wanted` names by method and path. Those held take no place at work."""

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
                    "the embedder has no room for more of your calls yet: wait for the seconds in Retry-After",
                    retry_after_s=_RETRY_AFTER_S,
                ),
            )
            return
        await self._app(scope, receive, send)
        if problem_code(scope) == EmbedderOverloaded.code:
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
