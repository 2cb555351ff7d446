"""How calls reach an embedder. In turn: so many calls are under way at once, and those that wait for a place come from
their callers in turn. A pool of connections would be a queue too, but one in which the caller that sends most is served
most, and which is slow when it is long. And not at all while the embedder is known to be silent: waiting for a read
timeout instead would hold each caller for half a minute.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import httpx

from vitrine.errors import EmbedderOverloaded, EmbedderSilent
from vitrine.fair_queue import FairQueue

_LEARNING: Final = 0.1
_LONGEST_PACE_S: Final = 5.0
_RETRY_AFTER_S: Final = 1.0
_SILENT_RETRY_AFTER_S: Final = 5.0


class Turns:
    """`places` calls at once. One whose turn would come after `max_delay_s`, at the pace of the last ones, is refused.

    Used from one event loop.
    """

    def __init__(self, places: int, *, max_delay_s: float = 1.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = places
        self._max_delay_s = max_delay_s
        self._clock = clock
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._queued = 0  # of these, some may have given up
        self._waiting: Counter[str] = Counter()
        # From one call's end to the next one's, while others wait. A first guess that errs lets too many in.
        self._pace_s = 0.03
        self._ended_s: float | None = None

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Wait for a place and hold it. Raises EmbedderOverloaded."""
        if self._free and not self._queued:
            self._free -= 1
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._end()

    async def _wait(self, caller: str) -> None:
        own = self._waiting[caller] + 1
        before = sum(min(count, own) for name, count in self._waiting.items() if name != caller)
        delay_s = (own + before) * self._pace_s
        # One call may always wait: the pace is measured only while one does, and would stay as slow as it once was.
        if self._waiting and delay_s > self._max_delay_s:
            raise EmbedderOverloaded(
                f"this call's turn would come in about {delay_s:.1f} s: try again in a moment",
                retry_after_s=_RETRY_AFTER_S,
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[caller] += 1
        self._queue.put(caller, place)
        self._queued += 1
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._end()  # the place came at the moment in which the caller went
            raise
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]

    def _end(self) -> None:
        """Pass a place on to the next who still waits."""
        now_s = self._clock()
        if self._queued and self._ended_s is not None:
            took_s = min(now_s - self._ended_s, _LONGEST_PACE_S)
            self._pace_s += _LEARNING * (took_s - self._pace_s)
        self._ended_s = now_s if self._queued else None
        while self._queued and (place := self._queue.take(lambda _: True)) is not None:
            self._queued -= 1
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class AbandoningTransport(httpx.AsyncBaseTransport):
    """Passes requests to `inner`. Raises EmbedderSilent while `silent` is set; without it, never."""

    def __init__(self, inner: httpx.AsyncBaseTransport, silent: asyncio.Event | None) -> None:
        self._inner = inner
        self._silent = silent
        self._answered_at_s = float("-inf")

    def answered_within(self, seconds: float) -> bool:
        """Did any request get an answer in the last `seconds`? A server that is busy may be late with one and alive."""
        return time.monotonic() - self._answered_at_s <= seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._silent is None:
            return await self._send(request)
        if self._silent.is_set():
            raise _silence()
        sending = asyncio.ensure_future(self._send(request))
        silence = asyncio.ensure_future(self._silent.wait())
        try:
            await asyncio.wait({sending, silence}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
            raise _silence()
        finally:
            silence.cancel()
            sending.cancel()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        self._answered_at_s = time.monotonic()
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


def _silence() -> EmbedderSilent:
    return EmbedderSilent("the embedder does not answer: try again in a moment", retry_after_s=_SILENT_RETRY_AFTER_S)
