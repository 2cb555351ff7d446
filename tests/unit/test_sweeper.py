"""The sweeper publishes lost work again, and no job delays the others."""

from __future__ import annotations

import redis

from harness.processes import Redis
from vitrine.jobs import JobKind, JobRecord, JobState, JobStore, StepStore, keys
from vitrine.jobs.celery import INDEX, Message, first_message
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.sweeper import Sweeper, SweepPolicy
from vitrine.settings import CommonSettings


def swept(server: Redis, client: redis.Redis, *, broken: str | None = None) -> set[str]:
    """The jobs whose messages two sweeps in a row publish. The policy raises for the `broken` one."""

    def due(record: JobRecord) -> list[Message]:
        if record.id == broken:
            raise ZeroDivisionError(record.id)
        return [first_message(record)]

    publisher = JobPublisher(CommonSettings(redis_url=server.url))
    policy = SweepPolicy(cancel=lambda record: cancel(client, record), due=due)
    sweeper = Sweeper(client, service="test", profile=INDEX, policy=policy, publisher=publisher)
    sweeper.sweep()
    published = sweeper.sweep()
    publisher.close()
    return {message.job_id for message in published}


def cancel(client: redis.Redis, record: JobRecord) -> None:
    JobStore(client).update(record.id, JobRecord.cancelled)


def test_a_running_job_without_a_worker_is_cancelled_by_the_sweeper(server: Redis, client: redis.Redis) -> None:
    store, steps = JobStore(client), StepStore(client)
    held, free = (store.create(JobKind.INDEX, {})[0].id for _ in range(2))
    for job_id in (held, free):
        store.update(job_id, lambda record: record.started(phase="indexing"))
        store.request_cancel(job_id)
    assert steps.acquire(held, "start") is not None
    assert swept(server, client) == set()
    assert (store.get(held).state, store.get(free).state) == (JobState.RUNNING, JobState.CANCELLED)


def test_a_job_that_cannot_be_swept_does_not_delay_the_others(server: Redis, client: redis.Redis) -> None:
    jobs = [JobStore(client).create(JobKind.INDEX, {})[0].id for _ in range(3)]
    assert swept(server, client, broken=jobs[1]) == {jobs[0], jobs[2]}


def test_a_record_that_cannot_be_read_does_not_delay_the_others(server: Redis, client: redis.Redis) -> None:
    store = JobStore(client)
    jobs = [store.create(JobKind.INDEX, {})[0].id for _ in range(3)]
    client.hset(keys.job(jobs[1]), "record", '{"of": "another version"}')
    assert swept(server, client) == {jobs[0], jobs[2]}
    assert {record.id for record in store.list()} == {jobs[0], jobs[2]}


def test_a_removed_job_is_taken_from_the_list_of_unfinished_jobs(client: redis.Redis) -> None:
    store = JobStore(client)
    gone, there = (store.create(JobKind.INDEX, {})[0].id for _ in range(2))
    client.delete(*keys.parts(gone))
    assert [record.id for record in store.unfinished((JobKind.INDEX,))] == [there]
    assert client.zrange(keys.UNFINISHED, 0, -1) == [there.encode()]
