"""Redis at its memory limit: writes are refused with a retryable error, reads work, and workers stay announced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from harness.processes import Redis
from harness.waiting import wait_until
from vitrine.errors import BrokerFull, BrokerUnavailable
from vitrine.jobs import AsyncJobStore, JobKind, JobState, JobStore, StepStore, open_async_redis
from vitrine.jobs.celery import INDEX, Message, Queue, Task
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.redis import as_broker_error, broker_errors
from vitrine.jobs.worker import Announcer
from vitrine.settings import CommonSettings


def announced(client: redis.Redis, *, beating: Announcer | None = None) -> bytes:
    """The key of the only worker's announcement, once it exists. Until then the given main loop beats."""

    def look() -> object:
        if beating is not None:
            beating.beat()
        return next(client.scan_iter(match="vitrine:worker:*"), None)

    key = wait_until(look, what="the announcement")
    assert isinstance(key, bytes)
    return key


@contextmanager
def full(client: redis.Redis) -> Iterator[None]:
    """The server accepts no data inside the block: its limit is below its used memory."""
    client.config_set("maxmemory", 100_000)
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


def test_a_write_is_refused_with_a_retryable_error_and_a_read_is_answered(client: redis.Redis) -> None:
    store, steps = JobStore(client), StepStore(client)
    job, _ = store.create(JobKind.INDEX, {"dataset": "shop"})
    finished, _ = store.create(JobKind.INDEX, {"dataset": "old"})
    store.request_cancel(finished.id)
    with full(client):
        writes = (
            lambda: store.create(JobKind.INDEX, {"dataset": "shop"}),
            lambda: store.update(job.id, lambda record: record.started(phase="reading")),
            lambda: steps.acquire(job.id, "start"),
        )
        for write in writes:
            with pytest.raises(BrokerFull, match="memory limit") as refusal:
                write()
            assert (refusal.value.status, refusal.value.retryable, refusal.value.code) == (503, True, "broker_full")
            assert refusal.value.retry_after_s is not None
        assert store.get(job.id).state is JobState.QUEUED
        assert store.trim(keep=0) == 1, "what makes room is not refused"
    assert store.update(job.id, lambda record: record.started(phase="reading")).state is JobState.RUNNING


def test_the_async_store_refuses_in_the_same_way(server: Redis, client: redis.Redis) -> None:
    async def create() -> None:
        connection = open_async_redis(server.url)
        try:
            await AsyncJobStore(connection).create(JobKind.INDEX, {"dataset": "shop"})
        finally:
            await connection.aclose()

    with full(client), pytest.raises(BrokerFull):
        asyncio.run(create())


def test_publishing_is_refused_too_and_works_again_once_there_is_memory(server: Redis, client: redis.Redis) -> None:
    publisher = JobPublisher(CommonSettings(redis_url=server.url))
    message = Message(Task.INDEX_START, "0" * 21)
    try:
        with full(client), pytest.raises(BrokerFull):
            publisher.send(message)
        publisher.send(message)
        assert publisher.waiting(Queue.INDEX) == {message}
    finally:
        publisher.close()


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_that_is_refused_counts_as_full_too(client: redis.Redis, transaction: bool) -> None:
    with client.pipeline(transaction=transaction) as pipe, full(client), broker_errors():
        pipe.set("a", 1)
        pipe.set("b", 2)
        with pytest.raises(redis.RedisError) as refusal:
            pipe.execute()
    assert isinstance(as_broker_error(refusal.value), BrokerFull)


def test_a_server_that_cannot_write_is_unavailable_and_a_wrong_command_is_a_defect() -> None:
    disk = redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device")
    replica = redis.ReadOnlyError("You can't write against a read only replica.")
    assert isinstance(as_broker_error(disk), BrokerUnavailable)
    assert isinstance(as_broker_error(replica), BrokerUnavailable)
    assert as_broker_error(redis.ResponseError("WRONGTYPE Operation against a key")) is None


def test_a_worker_stays_announced_while_redis_is_full(client: redis.Redis) -> None:
    announcer = Announcer(client, service="indexer", queues=("q",), interval_s=0.05, stale_after_s=0.1)
    announcer.start()
    try:
        key = announced(client, beating=announcer)  # and nothing else: a worker does not consume from a full Redis
        with full(client):
            client.expire(key, 3)
            wait_until(lambda: client.ttl(key) > 10, what="the announcement's longer life")
    finally:
        announcer.stop()


def test_a_failed_announcement_is_repeated_once_there_is_memory(client: redis.Redis) -> None:
    with full(client):
        announcer = Announcer(client, service="trainer", queues=("q",), interval_s=0.05)
        announcer.start()
        wait_until(lambda: client.info("errorstats")["errorstat_OOM"]["count"] >= 3, what="three refused announcements")
        assert next(client.scan_iter(match="vitrine:worker:*"), None) is None
    try:
        announced(client)
    finally:
        announcer.stop()


def test_a_worker_whose_main_loop_hangs_is_not_announced(client: redis.Redis) -> None:
    announcer = Announcer(client, service="indexer", queues=("q",), interval_s=0.05, stale_after_s=0.2)
    announcer.start()
    try:
        key = announced(client, beating=announcer)

        def expired() -> bool:
            if client.pttl(key) > 300:  # renewed
                client.pexpire(key, 300)
            return not client.exists(key)

        wait_until(expired, what="the end of the announcement")
        assert announced(client, beating=announcer) == key, "it returns with the next beat"
    finally:
        announcer.stop()


def test_a_worker_continues_after_a_channel_error_of_its_broker() -> None:
    from vitrine.jobs.celery import celery_app

    assert celery_app(INDEX, redis_url="redis://127.0.0.1:1/0").conf.broker_channel_error_retry is True
