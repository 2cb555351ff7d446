"""Leases, deferrals and strikes of a job's steps, on a real Redis."""

from __future__ import annotations

import pytest
import redis

from harness.waiting import wait_until
from vitrine.jobs import JobKind, JobStore, StepStore
from vitrine.jobs.steps import BACKOFF_CAP_MS


@pytest.fixture
def job_id(client: redis.Redis) -> str:
    return JobStore(client).create(JobKind.INDEX, {})[0].id


def test_one_worker_at_a_time_holds_a_step(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    with steps.hold(job_id, "batch:1") as mine:
        assert mine is not None
        assert steps.held(job_id) == {"batch:1"}
        with steps.hold(job_id, "batch:1") as theirs:
            assert theirs is None
        with steps.hold(job_id, "batch:2") as other:
            assert other is not None
    assert steps.held(job_id) == frozenset()


def test_a_held_step_is_renewed_for_as_long_as_the_work_takes(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client, lease_ttl_ms=80)
    with steps.hold(job_id, "start") as lease:
        assert lease is not None
        first = client.zscore(f"vitrine:job:{job_id}:leases", "start")
        assert first is not None
        # Five lease times later it is still held, so it must have been renewed.
        wait_until(
            lambda: (client.zscore(f"vitrine:job:{job_id}:leases", "start") or 0) > first + 400, what="five renewals"
        )
        assert not lease.lost.is_set()
        assert steps.acquire(job_id, "start") is None


def test_a_dead_workers_step_is_free_after_its_lease_and_the_dead_one_cannot_touch_it(
    client: redis.Redis, job_id: str
) -> None:
    steps = StepStore(client, lease_ttl_ms=50)
    dead = steps.acquire(job_id, "batch:0")
    assert dead is not None
    successor = wait_until(lambda: steps.acquire(job_id, "batch:0"), deadline_s=5, what="the lease to end")
    assert successor is not None
    assert successor.token > dead.token
    assert not steps.renew(dead)
    steps.release(dead)
    assert StepStore(client).renew(successor)
    assert steps.held(job_id) == {"batch:0"}


def test_a_job_that_is_gone_can_be_neither_held_nor_deferred(client: redis.Redis) -> None:
    steps = StepStore(client)
    assert steps.acquire("0" * 21, "start") is None
    assert steps.defer("0" * 21, "start") == 0
    assert client.keys("*") == []


def test_a_deferred_step_is_aside_until_its_time_and_taking_it_ends_that(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    assert steps.defer(job_id, "batch:3", at_least_ms=60_000) == 1
    assert steps.deferred(job_id) == {"batch:3"}
    with steps.hold(job_id, "batch:3") as lease:
        assert lease is not None
        assert steps.deferred(job_id) == frozenset()
    assert steps.defer(job_id, "batch:4", at_least_ms=30) == 1
    wait_until(lambda: steps.deferred(job_id) == frozenset(), deadline_s=5, what="the deferral to end")


def test_waits_grow_with_each_failure_in_a_row_and_are_capped(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    waits_ms = []
    for row in range(1, 40):
        assert steps.defer(job_id, "batch:0") == row
        seconds, microseconds = client.time()
        due_ms = client.zscore(f"vitrine:job:{job_id}:deferred", "batch:0")
        assert due_ms is not None
        waits_ms.append(due_ms - (seconds * 1000 + microseconds // 1000))
    assert waits_ms[0] <= 1_000
    assert max(waits_ms) <= BACKOFF_CAP_MS
    assert len({round(wait) for wait in waits_ms[10:]}) > 10  # jitter: no two alike
    steps.clear_retries(job_id, "batch:0")
    assert steps.defer(job_id, "batch:0") == 1


def test_a_strike_stays_only_where_the_work_came_to_no_orderly_end(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    assert steps.strike(job_id, "batch:0") == 1
    steps.take_back(job_id, "batch:0")
    assert steps.strikes(job_id, "batch:0") == 0
    steps.strike(job_id, "batch:0")
    assert steps.strike(job_id, "batch:0") == 2
