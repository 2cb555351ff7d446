"""The sweeper, which brings lost work back: no job keeps it from the others."""

from __future__ import annotations

from collections.abc import Collection

import redis

from harness.processes import Redis
from vitrine.jobs import JobKind, JobRecord, JobStore, keys
from vitrine.jobs.celery import Message, first_message
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.sweeper import Sweeper
from vitrine.settings import CommonSettings


class FirstMessages:
    """Each job is due from its start, and one of them is a defect."""

    def __init__(self, defect: str | None = None) -> None:
        self._defect = defect

    @property
    def kinds(self) -> Collection[JobKind]:
        return tuple(JobKind)

    def due(self, record: JobRecord, held: frozenset[str]) -> list[Message]:
        if record.id == self._defect:
            raise ZeroDivisionError(f"{record.id} {held}")
        return [first_message(record)]


def swept(server: Redis, client: redis.Redis, duties: FirstMessages) -> set[str]:
    """The jobs whose messages are published by two sweeps in a row."""
    publisher = JobPublisher(CommonSettings(redis_url=server.url))
    sweeper = Sweeper(client, service="test", duties=duties, publisher=publisher)
    sweeper.sweep()
    published = sweeper.sweep()
    publisher.close()
    return {message.job_id for message in published}


def test_a_job_that_cannot_be_swept_keeps_no_other_waiting(server: Redis, client: redis.Redis) -> None:
    jobs = [JobStore(client).create(JobKind.INDEX, {})[0].id for _ in range(3)]
    assert swept(server, client, FirstMessages(defect=jobs[1])) == {jobs[0], jobs[2]}


def test_a_record_that_cannot_be_read_keeps_no_other_waiting(server: Redis, client: redis.Redis) -> None:
    store = JobStore(client)
    jobs = [store.create(JobKind.INDEX, {})[0].id for _ in range(3)]
    client.hset(keys.job(jobs[1]), "record", '{"of": "another version"}')
    assert swept(server, client, FirstMessages()) == {jobs[0], jobs[2]}
    assert {record.id for record in store.list()} == {jobs[0], jobs[2]}


def test_a_job_that_is_gone_is_taken_from_the_list_of_the_unfinished(client: redis.Redis) -> None:
    store = JobStore(client)
    gone, there = (store.create(JobKind.INDEX, {})[0].id for _ in range(2))
    client.delete(*keys.parts(gone))
    assert [record.id for record in store.unfinished((JobKind.INDEX,))] == [there]
    assert client.zrange(keys.UNFINISHED, 0, -1) == [there.encode()]
