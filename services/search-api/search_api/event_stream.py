"""A job's changes as server-sent events. The stream ends with the job, with the client, or with the process: a stream
that outlived the order to stop would hold the process up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from vitrine.errors import VitrineError
from vitrine.jobs import JobRecord
from vitrine.telemetry import get_logger

_HEARTBEAT = b": alive\n\n"


async def stream_of(
    records: AsyncGenerator[JobRecord, None], *, seen_version: int | None, heartbeat_s: float, draining: asyncio.Event
) -> AsyncIterator[bytes]:
    """Encode `records` as they come, with a comment after each `heartbeat_s` of silence.

    The version `seen_version` is not told again, unless it is the finished job's: that one ends the stream. Where
    Redis goes away the stream ends early, and the client comes back with Last-Event-ID.
    """
    queue: asyncio.Queue[JobRecord | None] = asyncio.Queue()

    async def pump() -> None:
        try:
            async with aclosing(records):
                async for record in records:
                    queue.put_nowait(record)
        except VitrineError as error:
            get_logger("event_stream").warning("event_stream_end", code=error.code)
        finally:
            queue.put_nowait(None)

    async def stop() -> None:
        await draining.wait()
        queue.put_nowait(None)

    tasks = [asyncio.create_task(pump()), asyncio.create_task(stop())]
    try:
        while True:
            try:
                record = await asyncio.wait_for(queue.get(), heartbeat_s)
            except TimeoutError:
                yield _HEARTBEAT
                continue
            if record is None:
                return
            if record.version != seen_version or record.state.finished:
                yield encoded(record)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def encoded(record: JobRecord) -> bytes:
    """One event. The list of faults is told with the finished job; before, their counts are."""
    told = record if record.state.finished else record.model_copy(update={"faults": ()})
    return f"id: {record.version}\nevent: {record.state.value}\ndata: {told.model_dump_json()}\n\n".encode()
