"""A job's changes as server-sent events. Each stream ends with the event `end`, which gives the reason: the job has
finished, the process is stopping, the stream is old enough, or its reader is too slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from search_api.jobs.feed import EndReason, Follower, JobFeed
from vitrine.errors import TooManyRequests, Unavailable
from vitrine.jobs import JobRecord

MAX_EVENT_ID_DIGITS: Final = 15
_HEARTBEAT: Final = b": alive\n\n"
_RETRY_AFTER_S: Final = 5.0
# After these the same address has more to tell: the milliseconds after which a client comes back.
_COME_BACK_MS: Final[dict[EndReason, int]] = {"slow": 1_000, "unavailable": 2_000, "draining": 1_000, "age": 100}


class StreamPlaces:
    """How many event streams are open: of the process and of each caller."""

    def __init__(self, *, max_streams: int, max_streams_per_caller: int) -> None:
        self._max_streams = max_streams
        self._max_per_caller = max_streams_per_caller
        self._open: Counter[str] = Counter()

    def take(self, caller: str) -> StreamPlace:
        """A place, to be released. Raises Unavailable and TooManyRequests, both with a time to come back."""
        if self._open.total() >= self._max_streams:
            raise Unavailable(
                "this service has no room for another event stream: ask for the job instead, or try again later",
                retry_after_s=_RETRY_AFTER_S,
            )
        if self._open[caller] >= self._max_per_caller:
            raise TooManyRequests(
                f"this caller has {self._max_per_caller} event streams open; close one, or ask for the job instead",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._open[caller] += 1
        return StreamPlace(self, caller)

    def release(self, caller: str) -> None:
        self._open[caller] -= 1
        if self._open[caller] <= 0:
            del self._open[caller]

    def open_streams(self) -> int:
        return self._open.total()


class StreamPlace:
    """One event stream's place. Released once, at the latest when nothing refers to it any more."""

    def __init__(self, places: StreamPlaces, caller: str) -> None:
        self._places: StreamPlaces | None = places
        self._caller = caller

    def release(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release(self._caller)

    def __del__(self) -> None:
        self.release()


class JobEvents:
    """The events of one job for one client."""

    def __init__(
        self, feed: JobFeed, job_id: str, *, seen_version: int | None, heartbeat_s: float, max_age_s: float
    ) -> None:
        self._feed = feed
        self._job_id = job_id
        self._seen_version = seen_version
        self._heartbeat_s = heartbeat_s
        self._max_age_s = max_age_s

    async def chunks(self, draining: asyncio.Event) -> AsyncGenerator[bytes, None]:
        """Encoded events, with a comment after each `heartbeat_s` of silence, until the event `end`.

        The version `seen_version` is not sent again, unless the job has finished with it.
        """
        with self._feed.follow(self._job_id) as follower:
            loop = asyncio.get_running_loop()
            stop = asyncio.create_task(_end_when(draining, follower))
            too_old = loop.call_later(self._max_age_s, follower.end, "age")
            try:
                while True:
                    try:
                        record = await asyncio.wait_for(follower.next(), self._heartbeat_s)
                    except TimeoutError:
                        yield _HEARTBEAT
                        continue
                    if record is None:
                        break
                    if record.version != self._seen_version or record.state.finished:
                        yield encoded(record)
                yield encoded_end(self._job_id, follower.ended or "finished")
            finally:
                too_old.cancel()
                stop.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await stop


class EventStreamAnswer(Response):
    """The answer that sends the chunks. It ends with the client too, and then closes the generator and its place."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[bytes, None], place: StreamPlace) -> None:
        self._chunks = chunks
        self._place = place
        self.status_code = 200
        self.background = None
        # Proxies that collect an answer before passing it on would make the progress arrive at its end.
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


def seen_version(last_event_id: str | None) -> int | None:
    """The version that a client says it saw last. What cannot be a version counts as none."""
    text = last_event_id or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_EVENT_ID_DIGITS else None


def encoded(record: JobRecord) -> bytes:
    """One event. The list of faults comes with the finished job; before, only their counts."""
    sent = record if record.state.finished else record.model_copy(update={"faults": ()})
    return f"id: {record.version}\nevent: {record.state.value}\ndata: {sent.model_dump_json()}\n\n".encode()


def encoded_end(job_id: str, reason: EndReason) -> bytes:
    """The last event of a stream."""
    come_back = f"retry: {_COME_BACK_MS[reason]}\n" if reason in _COME_BACK_MS else ""
    return f"{come_back}event: end\ndata: {json.dumps({'job': job_id, 'reason': reason})}\n\n".encode()


async def _end_when(draining: asyncio.Event, follower: Follower) -> None:
    await draining.wait()
    follower.end("draining")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
