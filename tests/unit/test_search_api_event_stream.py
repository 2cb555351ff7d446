"""Jobs as server-sent events: the fields of an event, the end of a stream, and the limits on streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator

import pytest

from search_api.jobs.events import JobEvents, encoded, encoded_end, seen_version
from search_api.jobs.feed import Follower
from search_api.streams import StreamPlaces
from vitrine.errors import TooManyRequests, Unavailable
from vitrine.jobs import JobFault, JobKind, JobRecord, JobState

FAULT = JobFault(product_id="7", kind="missing_picture", detail="there is no such picture")
JOB = "0" * 21


def job(version: int, state: JobState = JobState.RUNNING) -> JobRecord:
    return JobRecord(
        id=JOB, kind=JobKind.INDEX, state=state, created_at="2026-01-01T00:00:00Z", version=version, faults=(FAULT,)
    )


class Source:
    """The records of a follower, and whether it was closed."""

    def __init__(self, *records: JobRecord, max_waiting: int = 10) -> None:
        self.follower = Follower(max_waiting)
        self.closed = False
        for record in records:
            self.follower.put(record)
            if record.state.finished:
                self.follower.end("finished")

    @contextlib.contextmanager
    def follow(self, job_id: str) -> Iterator[Follower]:
        assert job_id == JOB
        try:
            yield self.follower
        finally:
            self.closed = True


def events(source: Source, *, seen: int | None = None, heartbeat_s: float = 60, max_age_s: float = 60) -> JobEvents:
    return JobEvents(source, JOB, seen_version=seen, heartbeat_s=heartbeat_s, max_age_s=max_age_s)  # type: ignore[arg-type]


async def collect(stream: JobEvents, draining: asyncio.Event | None = None) -> list[bytes]:
    async with asyncio.timeout(20):
        return [chunk async for chunk in stream.chunks(draining or asyncio.Event())]


def fields(chunk: bytes) -> dict[str, str]:
    """The fields of one event, by name."""
    text = chunk.decode()
    assert text.endswith("\n\n")
    pairs = [line.split(": ", 1) for line in text[:-2].split("\n")]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def reason(chunk: bytes) -> str:
    event = fields(chunk)
    assert event["event"] == "end"
    data = json.loads(event["data"])
    assert data["job"] == JOB
    return str(data["reason"])


def test_an_event_has_the_version_the_state_and_the_record() -> None:
    event = fields(encoded(job(3)))
    assert event.keys() == {"id", "event", "data"}
    assert (event["id"], event["event"]) == ("3", "running")
    assert json.loads(event["data"])["version"] == 3


def test_issues_are_listed_once_the_job_has_finished() -> None:
    def listed(record: JobRecord) -> int:
        return len(json.loads(fields(encoded(record))["data"])["faults"])

    assert (listed(job(3)), listed(job(4, JobState.SUCCEEDED))) == (0, 1)


def test_the_stream_ends_with_the_job_and_gives_the_reason() -> None:
    source = Source(job(1), job(2), job(3, JobState.SUCCEEDED))
    chunks = asyncio.run(collect(events(source)))
    assert [fields(chunk)["id"] for chunk in chunks[:-1]] == ["1", "2", "3"]
    assert reason(chunks[-1]) == "finished"
    assert source.closed


def test_a_version_seen_before_is_not_sent_again() -> None:
    chunks = asyncio.run(collect(events(Source(job(2), job(3, JobState.FAILED)), seen=2)))
    assert [fields(chunk)["id"] for chunk in chunks[:-1]] == ["3"]


def test_the_finished_record_is_sent_even_if_it_was_seen_before() -> None:
    chunks = asyncio.run(collect(events(Source(job(3, JobState.FAILED)), seen=3)))
    assert [fields(chunk)["event"] for chunk in chunks[:-1]] == ["failed"]


@pytest.mark.parametrize("text", [None, "", "x", "-1", "1.5", "٣", "9" * 5_000, " 3"])
def test_a_last_event_id_that_is_not_a_version_is_ignored(text: str | None) -> None:
    assert seen_version(text) is None
    assert seen_version("12") == 12


def test_a_quiet_stream_is_kept_alive_with_comments() -> None:
    async def scenario() -> list[bytes]:
        source = Source(job(1))
        chunks = []
        async with contextlib.aclosing(events(source, heartbeat_s=0.005).chunks(asyncio.Event())) as stream:
            async for chunk in stream:
                chunks.append(chunk)
                if len(chunks) == 3:
                    break
        assert source.closed
        return chunks

    assert asyncio.run(scenario())[1:] == [b": alive\n\n"] * 2


def test_draining_ends_the_stream_and_asks_to_reconnect() -> None:
    async def scenario() -> tuple[list[bytes], bool]:
        draining = asyncio.Event()
        source = Source(job(1))
        following = asyncio.create_task(collect(events(source), draining))
        await asyncio.sleep(0)
        draining.set()
        return await following, source.closed

    chunks, closed = asyncio.run(scenario())
    assert (len(chunks), reason(chunks[-1]), closed) == (2, "draining", True)
    assert int(fields(chunks[-1])["retry"]) > 0


def test_an_old_stream_ends_and_asks_to_reconnect() -> None:
    chunks = asyncio.run(collect(events(Source(job(1)), max_age_s=0.01)))
    assert (len(chunks), reason(chunks[-1])) == (2, "age")


def test_a_reader_that_is_too_slow_gets_a_last_event_with_the_reason() -> None:
    source = Source(job(1), job(2), job(3), max_waiting=2)
    chunks = asyncio.run(collect(events(source)))
    assert [reason(chunk) for chunk in chunks] == ["slow"]


def test_the_last_event_of_a_finished_job_asks_for_no_reconnect() -> None:
    assert b"retry:" not in encoded_end(JOB, "finished")


def test_streams_are_limited_for_the_process_and_for_each_caller() -> None:
    places = StreamPlaces(max_streams=3, max_streams_per_caller=2)
    mine = [places.take("key:mine") for _ in range(2)]
    with pytest.raises(TooManyRequests) as per_caller:
        places.take("key:mine")
    other = places.take("key:other")
    with pytest.raises(Unavailable) as in_all:
        places.take("key:third")
    assert per_caller.value.retry_after_s
    assert in_all.value.retry_after_s
    for place in (*mine, other, other):
        place.release()
    for _ in range(4):
        places.take("key:mine")  # not stored, so it is released at once
    kept = [places.take(caller) for caller in ("key:mine", "key:mine", "key:other")]
    assert len(kept) == 3  # every place is free again
