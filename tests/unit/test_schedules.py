"""Scheduled indexings: when they start, that no two index a dataset at once, and what is remembered of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from harness.processes import Redis
from indexer.scheduler import Scheduler
from indexer.vectors import Vectors
from vitrine.errors import ParameterInvalid
from vitrine.jobs import JobKind, JobState, JobStore, keys, open_async_redis
from vitrine.jobs.params.catalog import IndexParams
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.schedules import AsyncScheduleStore, LastIndexing, Schedule, ScheduleStore, format_every, parse_every
from vitrine.qdrant.naming import Serving
from vitrine.settings import CommonSettings

PARAMS = {"dataset": "shop", "model": "demo", "root": "/data/shop", "release_id": "demo-1", "allow_removal": False}


@dataclass
class Served(Vectors):
    """What serves, without a Qdrant."""

    release: str | None = None
    gone: list[str] = field(default_factory=list)

    def servings(self) -> list[Serving]:
        return [] if self.release is None else [Serving("shop", "demo", self.release, "a collection")]


@dataclass
class Timetable:
    """A scheduler whose time the test sets."""

    server: Redis
    client: redis.Redis
    served: Served = field(default_factory=Served)
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.jobs, self.schedules = JobStore(self.client), ScheduleStore(self.client)
        self.publisher = JobPublisher(CommonSettings(redis_url=self.server.url))

    def later(self, **elapsed: float) -> list[str]:
        """The jobs that a new scheduler starts, so much later."""
        self.moment += timedelta(**elapsed)
        scheduler = Scheduler(self.schedules, self.jobs, self.served, self.publisher, clock=lambda: self.moment)
        return [record.id for record in scheduler.start_due()]

    def end(self, job_id: str) -> None:
        self.jobs.update(job_id, lambda record: record.started(phase="indexing"))
        self.jobs.update(job_id, lambda record: record.succeeded({}))


@pytest.fixture
def table(server: Redis, client: redis.Redis) -> Iterator[Timetable]:
    table = Timetable(server, client)
    table.schedules.save(Schedule.of(PARAMS, every_s=3_600))
    yield table
    table.publisher.close()


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("30min", 1_800, "30min"),
        ("6h", 21_600, "6h"),
        ("24H", 86_400, "1d"),
        ("90 m", 5_400, "90min"),
        ("2w", 1_209_600, "2w"),
    ],
)
def test_an_interval_is_a_number_and_a_unit(text: str, seconds: int, shown: str) -> None:
    assert parse_every(text) == seconds
    assert format_every(seconds) == shown
    assert IndexParams(dataset="shop", root="/data", model="demo", every=text).every == shown


@pytest.mark.parametrize("text", ["", "6", "h", "6 hours", "-6h", "10s", "0h", "400d", "1.5h"])
def test_any_other_interval_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="such as 30min, 6h"):
        parse_every(text)


def test_a_job_starts_once_an_interval_has_passed_and_again_after_the_next(table: Timetable) -> None:
    assert table.later(minutes=59) == []
    (first,) = table.later(minutes=2)
    assert table.later(seconds=5) == []
    table.end(first)
    assert table.later(minutes=58) == []
    (second,) = table.later(minutes=2)
    assert second != first
    record = table.jobs.get(second)
    assert (record.kind, record.params["scheduled"], IndexParams.of(record).root) == (JobKind.INDEX, True, "/data/shop")
    assert [one.last_job for one in table.schedules.all()] == [second]


def test_no_two_index_one_dataset_at_once(table: Timetable) -> None:
    by_hand, _ = table.jobs.create(JobKind.INDEX, {**PARAMS, "model": "another"})
    assert table.later(hours=5) == []
    table.end(by_hand.id)
    (started,) = table.later(seconds=5)
    assert table.later(hours=2) == []
    table.end(started)
    assert len(table.later(seconds=5)) == 1


def test_several_indexers_start_it_once(table: Timetable) -> None:
    table.moment += timedelta(hours=1, minutes=1)
    schedulers = [
        Scheduler(table.schedules, table.jobs, table.served, table.publisher, clock=lambda: table.moment)
        for _ in range(3)
    ]
    started = [record.id for one in schedulers for record in one.start_due()]
    assert len(started) == 1
    assert len(table.jobs.unfinished((JobKind.INDEX,))) == 1


def test_the_release_that_serves_now_is_used(table: Timetable) -> None:
    (first,) = table.later(hours=2)
    assert table.jobs.get(first).params["release_id"] == "demo-1"
    table.end(first)
    table.served.release = "demo-2"
    (second,) = table.later(hours=2)
    assert table.jobs.get(second).params["release_id"] == "demo-2"


def test_a_schedule_that_was_removed_meanwhile_does_not_come_back(table: Timetable) -> None:
    (before,) = table.schedules.all()
    run(table.server, lambda store: store.remove("shop", "demo"))
    assert not table.schedules.replace(before, before.model_copy(update={"last_job": "x"}))
    assert table.schedules.all() == []
    assert table.later(hours=2) == []


def test_the_end_of_an_indexing_is_remembered_after_its_job_is_gone(table: Timetable) -> None:
    (job,) = table.later(hours=2)
    table.jobs.update(job, lambda record: record.started(phase="indexing"))
    ended = table.jobs.update(job, lambda record: record.succeeded({"added": 3, "removed": 1, "collection": "c"}))
    table.schedules.note_ended(ended)
    table.client.delete(*keys.parts(job))
    (last,) = run(table.server, lambda store: store.last_indexings("shop"))
    assert isinstance(last, LastIndexing)
    assert (last.job, last.state, last.scheduled) == (job, JobState.SUCCEEDED, True)
    assert (last.counts["added"], last.counts["removed"]) == (3, 1)
    assert run(table.server, lambda store: store.last_indexings("sho")) == []
    run(table.server, lambda store: store.forget("shop"))
    assert run(table.server, lambda store: store.last_indexings("shop")) == []
    assert table.schedules.all() == []


def test_the_lists_of_changes_are_kept_whole(table: Timetable) -> None:
    (job,) = table.later(hours=2)
    many = [f"ü/{number}" for number in range(50_000)]
    table.schedules.write_changes(job, {"added": many, "changed": (), "removed": ("one",)})
    read = {kind: run(table.server, lambda store, kind=kind: store.changes(job, kind)) for kind in ("added", "removed")}
    assert read == {"added": many, "removed": ["one"]}
    assert run(table.server, lambda store: store.changes(job, "changed")) == []
    assert run(table.server, lambda store: store.changes(keys.new_job_id(), "added")) is None


def run(server: Redis, call: Any) -> Any:
    async def called() -> Any:
        connection = open_async_redis(server.url)
        try:
            return await call(AsyncScheduleStore(connection))
        finally:
            await connection.aclose()

    return asyncio.run(called())
