"""The changes of a job as server-sent events. A stream ends with the event `end`, whose data gives the reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Final

from fastapi.sse import format_sse_event

from search_api.jobs.feed import EndReason, Follower, JobFeed
from vitrine.jobs import JobRecord

MAX_EVENT_ID_DIGITS: Final = 15
_HEARTBEAT: Final = format_sse_event(comment="alive")
# Reasons after which the client reconnects, with the delay in milliseconds.
_RECONNECT_MS: Final[dict[EndReason, int]] = {"slow": 1_000, "unavailable": 2_000, "draining": 1_000, "age": 100}


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
        """Encoded events until the event `end`, and a comment after each `heartbeat_s` seconds of silence.

        The version `seen_version` is not sent again, unless it is the last one of the job.
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


def seen_version(last_event_id: str | None) -> int | None:
    """The version in a Last-Event-ID header. None if it is not a version."""
    text = last_event_id or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_EVENT_ID_DIGITS else None


def encoded(record: JobRecord) -> bytes:
    """One event. Only the last has the list of faults; the others have their counts."""
    sent = record if record.state.finished else record.model_copy(update={"faults": ()})
    return format_sse_event(id=str(record.version), event=record.state.value, data_str=sent.model_dump_json())


def encoded_end(job_id: str, reason: EndReason) -> bytes:
    """The last event of a stream."""
    data = json.dumps({"job": job_id, "reason": reason})
    return format_sse_event(event="end", data_str=data, retry=_RECONNECT_MS.get(reason))


async def _end_when(draining: asyncio.Event, follower: Follower) -> None:
    await draining.wait()
    follower.end("draining")
