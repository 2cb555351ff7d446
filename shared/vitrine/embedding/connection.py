"""How the search API's calls reach an embedder: limited in number and fair among callers, and not at all while the
embedder is known to be silent.

A connection pool would also be a queue, but it would serve the caller that sends most, and a long one would be slow.
Waiting for the read timeout of a silent embedder would hold each caller for half a minute.
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
from vitrine.fair_queue import FairQueue, fair_backlog

_SMOOTHING: Final = 0.1
_MAX_PACE_S: Final = 5.0
_RETRY_AFTER_S: Final = 1.0
_SILENT_RETRY_AFTER_S: Final = 5.0


class FairLimiter:
    """Allows `max_calls` at once; others wait, fair among callers. For use in one event loop.

    A call is refused if it would wait for more than `max_delay_s`, at the pace of the last calls.
    """

    def __init__(
        self, max_calls: int, *, max_delay_s: float = 1.5, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = max_calls
        self._max_delay_s = max_delay_s
        self._clock = clock
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._queued = 0  # including those that have given up
        self._waiting: Counter[str] = Counter()
        # Seconds between the ends of calls while others wait. The first guess is low, so it admits too many.
        self._pace_s = 0.03
        self._ended_s: float | None = None

    @asynccontextmanager
    async def slot(self, caller: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises EmbedderOverloaded."""
        if self._free and not self._queued:
            self._free -= 1
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._end()

    async def _wait(self, caller: str) -> None:
        delay_s = (1 + fair_backlog(self._waiting, caller, 1)) * self._pace_s
        # One call may always wait: the pace is measured only while one does, and would otherwise stay slow forever.
        if self._waiting and delay_s > self._max_delay_s:
            raise EmbedderOverloaded(
                f"this call's turn would come in about {delay_s:.1f} s: try again in a moment",
                retry_after_s=_RETRY_AFTER_S,
            )
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[caller] += 1
        self._queue.put(caller, slot)
        self._queued += 1
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self._end()  # the slot came at the moment when the caller left
            raise
        finally:
            self._waiting[caller] -= 1
            if not self._waiting[caller]:
                del self._waiting[caller]

    def _end(self) -> None:
        """Pass the slot to the next call that still waits."""
        now_s = self._clock()
        if self._queued and self._ended_s is not None:
            took_s = min(now_s - self._ended_s, _MAX_PACE_S)
            self._pace_s += _SMOOTHING * (took_s - self._pace_s)
        self._ended_s = now_s if self._queued else None
        while self._queued and (slot := self._queue.take(lambda _: True)) is not None:
            self._queued -= 1
            if not slot.done():
                slot.set_result(None)
                return
        self._free += 1


class AbandoningTransport(httpx.AsyncBaseTransport):
    """Passes requests to `inner`. While `silent` is set, requests end at once with EmbedderSilent."""

    def __init__(self, inner: httpx.AsyncBaseTransport, silent: asyncio.Event | None) -> None:
        self._inner = inner
        self._silent = silent
        self._answered_at_s = float("-inf")

    def answered_within(self, seconds: float) -> bool:
        """Whether any request was answered in the last `seconds`. A busy server can be slow and still alive."""
        return time.monotonic() - self._answered_at_s <= seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._silent is None:
            return await self._send(request)
        if self._silent.is_set():
            raise _silent_error()
        sending = asyncio.ensure_future(self._send(request))
        silence = asyncio.ensure_future(self._silent.wait())
        try:
            await asyncio.wait({sending, silence}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
            raise _silent_error()
        finally:
            silence.cancel()
            sending.cancel()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        self._answered_at_s = time.monotonic()
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


def _silent_error() -> EmbedderSilent:
    return EmbedderSilent("the embedder does not answer: try again in a moment", retry_after_s=_SILENT_RETRY_AFTER_S)
