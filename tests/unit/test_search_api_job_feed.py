"""Many followers of jobs over one subscription to a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import redis

from harness.processes import Redis
from harness.waiting import HUNG_AFTER_S
from search_api.jobs.feed import Follower, JobFeed
from search_api.redis_feed import RedisFeed
from vitrine.errors import JobNotFound
from vitrine.jobs import AsyncJobStore, JobKind, JobRecord, JobState, JobStore, open_async_redis, open_redis

CHANNEL = "vitrine:test:channel"
FOLLOWERS = 150


@contextlib.asynccontextmanager
async def feeds(url: str) -> AsyncIterator[tuple[RedisFeed, JobFeed]]:
    connection = open_async_redis(url)
    redis_feed = RedisFeed(url)
    # Polls are too rare: only published changes wake the readers.
    job_feed = JobFeed(redis_feed, AsyncJobStore(connection), poll_s=600.0)
    try:
        yield redis_feed, job_feed
    finally:
        await job_feed.close()
        await redis_feed.close()
        await connection.aclose()


async def until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]], *, deadline_s: float = HUNG_AFTER_S
) -> None:
    async with asyncio.timeout(deadline_s):
        while True:
            answer = condition()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)  # a poll with a deadline


def subscriptions(client: redis.Redis) -> int:
    return sum(1 for one in client.client_list() if int(one["sub"]) + int(one["psub"]) > 0)


def test_each_channel_has_its_callbacks_which_are_notified_of_possible_gaps(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> tuple[list[bytes | None], list[bytes | None]]:
        mine: list[bytes | None] = []
        other: list[bytes | None] = []

        def faulty(_data: bytes | None) -> None:
            raise RuntimeError("a defect")

        async with feeds(server.url) as (feed, _):
            feed.on(CHANNEL, faulty)
            feed.on(CHANNEL, mine.append)
            off = feed.on("vitrine:test:other", other.append)
            feed.start()
            await until(lambda: mine == [None])
            client.publish(CHANNEL, "first")
            client.publish("vitrine:test:other", "other")
            await until(lambda: len(mine) == 2 and len(other) == 2)
            off()
            client.publish("vitrine:test:other", "nobody")
            client.publish(CHANNEL, "second")
            await until(lambda: len(mine) == 3)
        return mine, other

    mine, other = asyncio.run(scenario())
    assert mine == [None, b"first", b"second"]
    assert other == [None, b"other"]


async def versions(follower: Follower) -> list[int]:
    return [record.version async for record in follower]


def test_many_followers_share_one_subscription_and_all_see_the_end(server: Redis, client: redis.Redis) -> None:
    store = JobStore(client)

    async def scenario() -> tuple[list[list[int]], int, int]:
        async with feeds(server.url) as (_, feed):
            jobs = [store.create(JobKind.INDEX, {})[0].id for _ in range(3)]
            with contextlib.ExitStack() as stack:
                followers = [stack.enter_context(feed.follow(jobs[n % 3])) for n in range(FOLLOWERS)]
                reading = [asyncio.create_task(versions(follower)) for follower in followers]
                await until(lambda: subscriptions(client) == 1)
                clients = len(client.client_list())
                for job in jobs:
                    await asyncio.to_thread(store.update, job, lambda record: record.started(phase="reading"))
                    await asyncio.to_thread(store.update, job, lambda record: record.succeeded({}))
                seen = await asyncio.wait_for(asyncio.gather(*reading), HUNG_AFTER_S)
                assert {follower.ended for follower in followers} == {"finished"}
                return seen, clients, subscriptions(client)

    seen, clients, subscribed = asyncio.run(scenario())
    assert subscribed == 1
    assert clients < 15
    assert len(seen) == FOLLOWERS
    assert {tuple(sorted(set(one))) == tuple(one) and one[-1] for one in seen} == {3}


def test_a_late_follower_gets_the_current_version_first(server: Redis, client: redis.Redis) -> None:
    store = JobStore(client)

    async def scenario() -> list[int | None]:
        async with feeds(server.url) as (_, feed):
            job = store.create(JobKind.INDEX, {})[0].id
            with feed.follow(job) as first:
                assert await first.next() is not None
                with feed.follow(job) as second:
                    record = await asyncio.wait_for(second.next(), HUNG_AFTER_S)
            return [record.version if record else None]

    assert asyncio.run(scenario()) == [1]


def test_a_slow_reader_is_dropped_and_the_others_continue(server: Redis, client: redis.Redis) -> None:
    store = JobStore(client)

    async def scenario() -> tuple[str | None, JobRecord | None, list[int]]:
        async with feeds(server.url) as (_, feed):
            job = store.create(JobKind.INDEX, {})[0].id
            with feed.follow(job, max_waiting=2) as slow, feed.follow(job) as quick:
                reading = asyncio.create_task(versions(quick))
                await until(lambda: len(slow.waiting) == 1)
                await asyncio.to_thread(store.update, job, lambda record: record.started(phase="reading"))
                await until(lambda: len(slow.waiting) == 2)
                await asyncio.to_thread(store.update, job, lambda record: record.with_phase("ingesting"))
                await until(lambda: slow.ended)
                await asyncio.to_thread(store.update, job, JobRecord.cancelled)
                return slow.ended, await slow.next(), await asyncio.wait_for(reading, HUNG_AFTER_S)

    ended, left, seen = asyncio.run(scenario())
    assert (ended, left) == ("slow", None)
    assert seen[-1] == 4


def test_followers_survive_a_restart_of_redis(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")

    async def scenario() -> tuple[JobRecord, list[bytes | None]]:
        noted: list[bytes | None] = []
        with open_redis(server.url) as client:
            job = JobStore(client).create(JobKind.INDEX, {})[0].id
        async with feeds(server.url) as (redis_feed, feed):
            redis_feed.on(CHANNEL, noted.append)
            finished = asyncio.create_task(feed.finished(job))
            await until(redis_feed.connected.is_set)
            await asyncio.to_thread(server.kill)
            await until(lambda: not redis_feed.connected.is_set())
            server.start()
            await asyncio.to_thread(server.wait_ready)
            await until(redis_feed.connected.is_set)
            with open_redis(server.url) as client:
                await asyncio.to_thread(JobStore(client).update, job, JobRecord.cancelled)
            return await asyncio.wait_for(finished, HUNG_AFTER_S), noted

    try:
        record, noted = asyncio.run(scenario())
    finally:
        server.kill()
    assert record.state is JobState.CANCELLED
    assert noted[:2] == [None, None]  # once per connection


def test_deleting_a_job_ends_its_followers(server: Redis, client: redis.Redis) -> None:
    store = JobStore(client)

    async def scenario() -> str | None:
        async with feeds(server.url) as (redis_feed, feed):
            job = store.create(JobKind.INDEX, {})[0].id
            with feed.follow(job) as follower:
                await follower.next()
                await until(redis_feed.connected.is_set)
                client.delete(f"vitrine:job:{job}")
                client.publish(f"vitrine:job:{job}:events", 2)
                assert await asyncio.wait_for(follower.next(), 10) is None
                with pytest.raises(JobNotFound):
                    await feed.finished(job)
                return follower.ended

    assert asyncio.run(scenario()) == "gone"
