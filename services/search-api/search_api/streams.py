"""Streamed responses, and limits on how many are open at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vitrine.errors import TooManyRequests, Unavailable

_RETRY_AFTER_S: Final = 5.0


class StreamPlaces:
    """Counts the open streams of one kind, in the process and by caller.

    `what` names the kind and `instead` an alternative, for the error message.
    """

    def __init__(
        self,
        *,
        max_streams: int,
        max_streams_per_caller: int,
        what: str = "event stream",
        instead: str = "ask for the job instead",
    ) -> None:
        self._what = what
        self._instead = instead
        self._max_streams = max_streams
        self._max_per_caller = max_streams_per_caller
        self._open: Counter[str] = Counter()

    def take(self, caller: str) -> StreamPlace:
        """Take a place, which the caller must release. Raises Unavailable and TooManyRequests with Retry-After."""
        if self._open.total() >= self._max_streams:
            raise Unavailable(
                f"this service has no room for another {self._what}: {self._instead}, or try again later",
                retry_after_s=_RETRY_AFTER_S,
            )
        if self._open[caller] >= self._max_per_caller:
            raise TooManyRequests(
                f"this caller has {self._max_per_caller} {self._what}s open; close one, or {self._instead}",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._open[caller] += 1
        return StreamPlace(self, caller)

    def release(self, caller: str) -> None:
        self._open[caller] -= 1
        if self._open[caller] <= 0:
            del self._open[caller]


class StreamPlace:
    """The place of one stream. Released once, at the latest when it is garbage collected."""

    def __init__(self, places: StreamPlaces, caller: str) -> None:
        self._places: StreamPlaces | None = places
        self._caller = caller

    def release(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release(self._caller)

    def __del__(self) -> None:
        self.release()


class StreamAnswer(Response):
    """Sends the chunks of a generator, then closes it and releases the place; also when the client disconnects.

    An error of the generator breaks the connection, so that the client notices the missing end.
    """

    def __init__(self, chunks: AsyncGenerator[bytes, None], place: StreamPlace, *, media_type: str) -> None:
        self.media_type = media_type
        self._chunks = chunks
        self._place = place
        self.status_code = 200
        self.background = None
        # A proxy that buffers would deliver the events only at the end.
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await self._chunks.aclose()
            self._place.release()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
