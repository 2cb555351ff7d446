"""Leases, deferrals and crash counts of a job's steps, on a real Redis."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from harness.waiting import wait_until
from vitrine.jobs import Deferral, JobKind, JobStore, StepStore, keys
from vitrine.jobs.leases import BACKOFF_CAP_MS, RETRY_AFTER_CAP_MS


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


def test_the_lease_of_a_step_is_renewed_while_the_work_runs(client: redis.Redis, job_id: str) -> None:
    # Long enough for a busy machine to renew it in time.
    steps = StepStore(client, lease_ttl_ms=6_000)
    with steps.hold(job_id, "start") as lease:
        assert lease is not None

        def later(known_ms: float | None) -> float | None:
            now_ms = client.zscore(f"vitrine:job:{job_id}:leases", "start")
            return now_ms if now_ms != known_ms else None

        ends_ms = [client.zscore(f"vitrine:job:{job_id}:leases", "start")]
        for _ in range(2):
            ends_ms.append(wait_until(lambda: later(ends_ms[-1]), what="a renewal"))
        assert not lease.lost.is_set()
        assert steps.acquire(job_id, "start") is None


def test_a_step_of_a_dead_worker_is_free_after_its_lease_and_closed_to_that_worker(
    client: redis.Redis, job_id: str
) -> None:
    steps = StepStore(client, lease_ttl_ms=50)
    dead = steps.acquire(job_id, "batch:0")
    assert dead is not None
    successor = wait_until(lambda: StepStore(client).acquire(job_id, "batch:0"), what="the lease to end")
    assert successor is not None
    assert successor.token > dead.token
    assert not steps.renew(dead)
    steps.release(dead)
    assert StepStore(client).renew(successor)
    assert steps.held(job_id) == {"batch:0"}


def test_a_removed_job_can_be_neither_leased_nor_deferred(client: redis.Redis) -> None:
    steps = StepStore(client)
    assert steps.acquire("0" * 21, "start") is None
    assert steps.defer("0" * 21, "start") is None
    assert steps.begin("0" * 21, "start") == 0
    assert client.keys("*") == []


def deferred(steps: StepStore, job_id: str, step: str, **how: Any) -> Deferral:
    found = steps.defer(job_id, step, **how)
    assert found is not None
    return found


def test_a_deferred_step_waits_for_its_time_and_taking_it_ends_the_deferral(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    assert deferred(steps, job_id, "batch:3", at_least_ms=60_000).delay_ms == 60_000
    assert steps.deferred(job_id) == {"batch:3"}
    with steps.hold(job_id, "batch:3") as lease:
        assert lease is not None
        assert steps.deferred(job_id) == frozenset()
    deferred(steps, job_id, "batch:4")
    wait_until(lambda: steps.deferred(job_id) == frozenset(), what="the deferral to end")


def test_waits_grow_with_each_consecutive_failure_up_to_a_limit(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    waits_ms = []
    for row in range(1, 40):
        found = deferred(steps, job_id, "batch:0")
        assert found.tries == row
        seconds, microseconds = client.time()
        due_ms = client.zscore(f"vitrine:job:{job_id}:deferred", "batch:0")
        assert due_ms is not None
        waits_ms.append(due_ms - (seconds * 1000 + microseconds // 1000))
    assert waits_ms[0] <= 1_000
    assert max(waits_ms) <= BACKOFF_CAP_MS
    assert len({round(wait) for wait in waits_ms[10:]}) > 10  # jitter: the waits differ
    steps.clear_retries(job_id, "batch:0")
    assert deferred(steps, job_id, "batch:0").tries == 1


def test_a_requested_wait_is_respected_up_to_a_limit(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    assert deferred(steps, job_id, "finish", at_least_ms=10**12).delay_ms == RETRY_AFTER_CAP_MS


def test_a_failure_is_caused_by_the_step_if_the_dependency_worked_for_others(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    away = [deferred(steps, job_id, "batch:0", outage_of="embedder").own_tries for _ in range(5)]
    assert away == [0, 0, 0, 0, 0]
    own = []
    for _ in range(3):
        steps.note_working("embedder")
        own.append(deferred(steps, job_id, "batch:0", outage_of="embedder").own_tries)
    assert own == [1, 2, 3]
    steps.note_working("vector_store")
    assert deferred(steps, job_id, "batch:0", outage_of="embedder").own_tries == 3
    assert deferred(steps, job_id, "batch:0", own=False).own_tries == 3
    assert deferred(steps, job_id, "batch:0").own_tries == 4


def test_an_attempt_counts_only_if_it_did_not_end_cleanly(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    assert steps.begin(job_id, "batch:0") == 0
    steps.end(job_id, "batch:0")
    assert not client.hexists(keys.part(job_id, "crashes"), "batch:0")
    for crashes in range(3):
        assert steps.begin(job_id, "batch:0") == crashes
    steps.reset_crashes(job_id, "batch:0")
    assert steps.begin(job_id, "batch:0") == 1


def test_one_step_of_all_jobs_holds_a_lock_at_a_time(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    other = JobStore(client).create(JobKind.INDEX, {})[0].id
    with steps.hold_lock(job_id, "search") as mine:
        assert mine is not None
        with steps.hold_lock(other, "search") as theirs:
            assert theirs is None
    with steps.hold_lock(other, "search") as theirs:
        assert theirs is not None


def test_the_step_records_of_a_finished_job_are_removed(client: redis.Redis, job_id: str) -> None:
    steps = StepStore(client)
    steps.begin(job_id, "batch:0")
    steps.defer(job_id, "batch:0")
    assert steps.acquire(job_id, "batch:1") is not None
    steps.forget(job_id)
    assert client.keys(f"vitrine:job:{job_id}:*") == []
