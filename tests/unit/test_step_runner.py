"""The step runner of all workers, on a real Redis: what is retried, how long, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import redis

from vitrine.errors import (
    DeadlineExpired,
    EmbedderOverloaded,
    EmbedderUnavailable,
    JobCancelled,
    RecordChanged,
    ReleaseNotFound,
    VitrineError,
)
from vitrine.jobs import JobKind, JobRecord, JobState, JobStore, StepStore, keys
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import EMBEDDER, Attempt, StepRunner, always
from vitrine.settings import WorkerSettings

TRIES = 4


class Bench:
    """A runner, and one job with one step and its end."""

    def __init__(self, client: redis.Redis, **settings: Any) -> None:
        self.jobs, self.steps = JobStore(client), StepStore(client)
        self.ended: list[JobRecord] = []
        chosen = WorkerSettings(**{"step_max_tries": TRIES, **settings})
        self.runner = StepRunner(self.jobs, self.steps, chosen, service="test", on_end=self.ended.append)
        self.message = Message(Task.PROJECT, self.jobs.create(JobKind.PROJECT, {})[0].id)

    def run(self, work: Callable[[Attempt], dict[str, Any] | None], **how: Any) -> JobRecord:
        self.runner.run(self.message, work, starts_job=always, **how)
        return self.jobs.get(self.message.job_id)


def raising(error: Exception | type[BaseException]) -> Callable[[Attempt], NoReturn]:
    def work(_attempt: Attempt) -> NoReturn:
        raise error

    return work


def test_a_step_that_keeps_failing_with_a_retryable_error_fails_its_job_with_that_error(client: redis.Redis) -> None:
    bench = Bench(client)
    for tries in range(1, TRIES):
        record = bench.run(raising(RecordChanged("somebody else was first")))
        assert record.state is JobState.RUNNING
        assert record.last_failure is not None
        assert (record.last_failure.code, record.last_failure.tries) == ("record_changed", tries)
        assert record.last_failure.retry_at is not None
    record = bench.run(raising(RecordChanged("somebody else was first")))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "record_changed"
    assert "somebody else was first" in record.error.detail
    assert "VITRINE_STEP_MAX_TRIES" in record.error.detail
    assert record.last_failure is not None
    assert (record.last_failure.tries, record.last_failure.retry_at) == (TRIES, None)
    assert [one.state for one in bench.ended] == [JobState.FAILED]
    assert bench.steps.deferred(record.id) == frozenset()


def test_a_long_outage_of_a_dependency_fails_no_job(client: redis.Redis) -> None:
    bench = Bench(client)
    for _ in range(10 * TRIES):
        record = bench.run(raising(EmbedderUnavailable("the embedder cannot be reached")))
    assert record.state is JobState.RUNNING
    assert record.last_failure is not None
    assert record.last_failure.tries == 10 * TRIES
    record = bench.run(lambda _: {"well": True})
    assert record.state is JobState.SUCCEEDED
    assert record.last_failure is None


def test_a_request_to_wait_is_not_a_failure_but_a_missed_deadline_is(client: redis.Redis) -> None:
    bench = Bench(client)
    for _ in range(3 * TRIES):
        record = bench.run(raising(EmbedderOverloaded("full", retry_after_s=1.0)))
        bench.steps.note_working(EMBEDDER)
    assert record.state is JobState.RUNNING
    for _ in range(TRIES):
        record = bench.run(raising(DeadlineExpired("too late")))
    assert record.state is JobState.FAILED


def test_a_dependency_that_fails_only_for_this_step_ends_its_job(client: redis.Redis) -> None:
    bench = Bench(client)
    record = bench.run(raising(EmbedderUnavailable("no answer")))
    for _ in range(TRIES):
        assert record.state is JobState.RUNNING
        bench.steps.note_working(EMBEDDER)
        record = bench.run(raising(EmbedderUnavailable("no answer")))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "embedder_unavailable"


def test_an_outage_longer_than_the_limit_ends_the_job(client: redis.Redis) -> None:
    bench = Bench(client, outage_patience_s=60)
    bench.run(raising(EmbedderUnavailable("away")))
    retries = keys.part(bench.message.job_id, "retries")
    tries, own, since_ms, seen = client.hget(retries, "project").decode().split(":")  # type: ignore[union-attr]
    client.hset(retries, "project", f"{tries}:{own}:{int(since_ms) - 61_000}:{seen}")
    record = bench.run(raising(EmbedderUnavailable("away")))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert "VITRINE_OUTAGE_PATIENCE_S" in record.error.detail


def test_a_success_between_two_failures_resets_the_count(client: redis.Redis) -> None:
    bench = Bench(client)
    for _ in range(3):
        for _ in range(TRIES - 1):
            record = bench.run(raising(RecordChanged("again")))
        record = bench.run(lambda _: None)
        assert record.state is JobState.RUNNING
        assert record.last_failure is None


class Killed(BaseException):
    """The simulated crash."""


def test_attempts_that_crashed_their_process_are_counted_and_bounded(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(client, step_max_crashes=3)
    with monkeypatch.context() as patched:
        patched.setattr(bench.steps, "end", lambda *_: None)  # a killed process runs no cleanup
        for crashes in range(3):
            seen: list[int] = []

            def dies(attempt: Attempt, seen: list[int] = seen) -> NoReturn:
                seen.append(attempt.crashes)
                raise Killed

            with pytest.raises(Killed):
                bench.run(dies)
            assert seen == [crashes]
    record = bench.run(raising(AssertionError("it is not tried again")))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "worker_crashed"


def test_every_other_outcome_is_recorded(client: redis.Redis) -> None:
    for error, state, code in (
        (ReleaseNotFound("there is no such release"), JobState.FAILED, "release_not_found"),
        (JobCancelled("the job was cancelled"), JobState.CANCELLED, None),
        (KeyError("a defect"), JobState.FAILED, VitrineError.code),
    ):
        record = Bench(client).run(raising(error))
        assert record.state is state
        assert (record.error and record.error.code) == code
        assert record.last_failure is None


def test_a_step_that_another_worker_has_taken_over_is_left_to_it(client: redis.Redis) -> None:
    bench = Bench(client)

    def loses(attempt: Attempt) -> NoReturn:
        attempt.lease.lost.set()
        raise RecordChanged("another worker has taken this job over")

    record = bench.run(loses)
    assert record.state is JobState.RUNNING
    assert record.last_failure is None
    assert bench.steps.deferred(record.id) == frozenset()
    assert client.hget(keys.part(record.id, "crashes"), "project") == b"1", "the other worker's try is not taken back"


def test_a_job_with_a_cancel_request_runs_no_further_step(client: redis.Redis) -> None:
    bench = Bench(client)
    bench.run(lambda _: None)
    bench.jobs.request_cancel(bench.message.job_id)
    record = bench.run(raising(AssertionError("no further step")))
    assert record.state is JobState.CANCELLED
