"""Jobs as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

from search_api.event_stream import encoded, stream_of
from vitrine.errors import BrokerUnavailable
from vitrine.jobs import JobFault, JobKind, JobRecord, JobState

FAULT = JobFault(product_id="7", kind="missing_picture", detail="there is no such picture")


def job(version: int, state: JobState = JobState.RUNNING) -> JobRecord:
    return JobRecord(
        id="0" * 21,
        kind=JobKind.INDEX,
        state=state,
        created_at="2026-01-01T00:00:00Z",
        version=version,
        faults=(FAULT,),
    )


class Source:
    """Records to follow, and whether the follower closed them."""

    def __init__(self, *records: JobRecord, then: asyncio.Event | None = None, error: Exception | None = None) -> None:
        self._records, self._then, self._error = records, then, error
        self.closed = False

    async def follow(self) -> AsyncGenerator[JobRecord, None]:
        try:
            for record in self._records:
                yield record
            if self._error:
                raise self._error
            if self._then:
                await self._then.wait()
        finally:
            self.closed = True


async def collect(
    source: Source, *, seen: int | None = None, heartbeat_s: float = 60, draining: asyncio.Event | None = None
) -> list[bytes]:
    stream = stream_of(
        source.follow(), seen_version=seen, heartbeat_s=heartbeat_s, draining=draining or asyncio.Event()
    )
    return [chunk async for chunk in stream]


def test_an_event_names_version_state_and_record() -> None:
    lines = encoded(job(3)).decode().split("\n")
    assert lines[:2] == ["id: 3", "event: running"]
    assert json.loads(lines[2].removeprefix("data: "))["version"] == 3
    assert lines[3:] == ["", ""]


def test_faults_are_listed_once_the_job_has_finished() -> None:
    def listed(record: JobRecord) -> int:
        return len(json.loads(encoded(record).split(b"data: ")[1])["faults"])

    assert (listed(job(3)), listed(job(4, JobState.SUCCEEDED))) == (0, 1)


def test_the_stream_ends_with_the_job() -> None:
    source = Source(job(1), job(2), job(3, JobState.SUCCEEDED))
    chunks = asyncio.run(collect(source))
    assert [chunk.split(b"\n")[0] for chunk in chunks] == [b"id: 1", b"id: 2", b"id: 3"]
    assert source.closed


def test_a_version_seen_before_is_not_told_again() -> None:
    chunks = asyncio.run(collect(Source(job(2), job(3, JobState.FAILED)), seen=2))
    assert [chunk.split(b"\n")[0] for chunk in chunks] == [b"id: 3"]


def test_the_end_is_told_even_where_it_was_seen_before() -> None:
    chunks = asyncio.run(collect(Source(job(3, JobState.FAILED)), seen=3))
    assert [chunk.split(b"\n")[1] for chunk in chunks] == [b"event: failed"]


def test_a_quiet_stream_is_kept_alive_with_comments() -> None:
    async def scenario() -> list[bytes]:
        source = Source(job(1), then=asyncio.Event())
        stream = stream_of(source.follow(), seen_version=None, heartbeat_s=0.005, draining=asyncio.Event())
        chunks = []
        async for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == 3:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        assert source.closed
        return chunks

    assert asyncio.run(scenario())[1:] == [b": alive\n\n"] * 2


def test_draining_ends_the_stream() -> None:
    async def scenario() -> tuple[list[bytes], bool]:
        draining = asyncio.Event()
        source = Source(job(1), then=asyncio.Event())
        following = asyncio.create_task(collect(source, draining=draining))
        await asyncio.sleep(0)
        draining.set()
        return await following, source.closed

    chunks, closed = asyncio.run(scenario())
    assert (len(chunks), closed) == (1, True)


def test_a_stream_whose_broker_goes_away_ends_early() -> None:
    source = Source(job(1), error=BrokerUnavailable("Redis cannot be reached"))
    assert len(asyncio.run(collect(source))) == 1
