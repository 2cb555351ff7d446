"""How every step of a job is run, in all workers: under a lease, its tries counted in Redis, its failures sorted. One
that may pass sets the step aside for the sweeper to bring back, a bounded number of times; one that stays ends the job.
The last failure stays in the record while the step waits and when the job fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from celery.exceptions import SoftTimeLimitExceeded

from vitrine.errors import (
    BrokerUnavailable,
    DeadlineExpired,
    EmbedderUnavailable,
    JobCancelled,
    JobFinished,
    JobNotFound,
    Unavailable,
    VectorStoreUnavailable,
    VitrineError,
    WorkerCrashed,
)
from vitrine.jobs import Deferral, JobRecord, JobState, JobStore, Lease, StepFailure, StepStore
from vitrine.jobs.celery import Message
from vitrine.jobs.metrics import Counts
from vitrine.jobs.record import now
from vitrine.settings import WorkerSettings
from vitrine.telemetry import get_logger

EMBEDDER: Final = "embedder"
VECTOR_STORE: Final = "vector_store"
# The part of the system that an error says is away. Other tries show whether it is.
_PARTS: Final[tuple[tuple[type[VitrineError], str], ...]] = (
    (EmbedderUnavailable, EMBEDDER),
    (VectorStoreUnavailable, VECTOR_STORE),
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step. `crashes` counts the tries before it, in a row, that ended their process."""

    record: JobRecord
    lease: Lease
    crashes: int


# Does a step's work. Returns the job's result if the step ends the job.
Work = Callable[[Attempt], dict[str, Any] | None]


def always(_record: JobRecord) -> bool:
    """For a step that is the whole job: each try sets the job running."""
    return True


def _never(_record: JobRecord) -> bool:
    return False


class StepRunner:
    """Runs the steps of one service's jobs.

    `on_end` is called with the record of each job that has ended, to clean up after it.
    """

    def __init__(
        self,
        jobs: JobStore,
        steps: StepStore,
        settings: WorkerSettings,
        *,
        service: str,
        counts: Counts | None = None,
        on_end: Callable[[JobRecord], None] | None = None,
    ) -> None:
        self._jobs = jobs
        self._steps = steps
        self._settings = settings
        self._counts = counts
        self._on_end = on_end
        self._log = get_logger(service)

    def run(
        self,
        message: Message,
        work: Work,
        *,
        begins: Callable[[JobRecord], bool] = _never,
        bounds_crashes: bool = True,
    ) -> None:
        """Run one step, unless the job has ended or another worker holds it.

        `begins` says whether this step sets the job running. Without `bounds_crashes` the work itself deals with tries
        that ended their process. Raises BrokerUnavailable alone: without Redis nothing can be noted, and the sweeper
        brings the step back.
        """
        job_id = message.job_id
        try:
            with self._steps.hold(job_id, message.step) as lease:
                if lease is None:
                    return
                record = self._jobs.get(job_id)
                if begins(record):
                    record = self._jobs.update(job_id, lambda current: current.started(phase="starting"))
                if record.state is not JobState.RUNNING:
                    return
                if record.cancel_requested:
                    self.cancel(record)
                    return
                crashes = self._steps.begin(job_id, message.step)
                try:
                    if bounds_crashes and crashes >= self._settings.step_max_crashes:
                        raise WorkerCrashed(
                            f"the step {message.step!r} ended its worker's process {crashes} times in a row, most "
                            "likely because it ran out of memory"
                        )
                    self._do(message, Attempt(record, lease, crashes), work)
                except (JobFinished, JobNotFound):
                    return
                except WorkerCrashed as error:
                    self._fail(record, error)
                finally:
                    if not lease.lost.is_set():
                        self._steps.end(job_id, message.step)
        except (JobFinished, JobNotFound):
            return

    def cancel(self, record: JobRecord) -> None:
        """End a job whose cancellation was asked for. Raises JobFinished."""
        self._end(record, lambda current: current.cancelled())

    def _do(self, message: Message, attempt: Attempt, work: Work) -> None:
        record = attempt.record
        try:
            result = work(attempt)
        except (JobFinished, JobNotFound, BrokerUnavailable):
            raise
        except JobCancelled:
            self.cancel(record)
        except VitrineError as error:
            if attempt.lease.lost.is_set():
                self._log.warning("step_lost", step=message.step, code=error.code)
            elif error.retryable:
                self._set_aside(message, record, error)
            else:
                self._log.warning("job_failure", code=error.code, detail=error.detail)
                self._fail(record, error)
        except SoftTimeLimitExceeded:
            # What the step has stored so far stays, so that the next try has less to do.
            self._set_aside(message, record, DeadlineExpired("the step took longer than a worker gives it"))
        except Exception as defect:
            self._log.error("job_defect", exc_info=defect)
            self._fail(record, VitrineError(f"an unexpected error ended the job: {type(defect).__name__}"))
        else:
            self._got_through(message, record)
            if result is not None:
                self._end(record, lambda current: current.succeeded(result))
                self._log.info("job_success", **result)

    def _got_through(self, message: Message, record: JobRecord) -> None:
        self._steps.clear_retries(record.id, message.step)
        if record.last_failure is not None and record.last_failure.step == message.step:
            self._jobs.update(record.id, lambda current: _without_failure_of(current, message.step))

    def _set_aside(self, message: Message, record: JobRecord, error: VitrineError) -> None:
        part = next((name for kind, name in _PARTS if isinstance(error, kind)), None)
        deferral = self._steps.defer(
            record.id,
            message.step,
            at_least_ms=int((error.retry_after_s or 0) * 1000),
            outage_of=part,
            # A request to wait is not a failure of the step; a deadline that passes again and again is.
            own=not isinstance(error, Unavailable) or isinstance(error, DeadlineExpired),
        )
        if deferral is None:
            return
        if self._counts is not None:
            self._counts.add("deferrals", {error.code: 1})
        self._log.warning(
            "step_deferral", step=message.step, code=error.code, tries=deferral.tries, delay_ms=deferral.delay_ms
        )
        bound = self._bound_reached(deferral)
        failure = _failure(message, error, deferral, is_last=bound is not None)
        self._jobs.update(record.id, lambda current: current.with_failure(failure))
        if bound is not None:
            last = VitrineError(f"{error.detail} (the step {message.step!r} was tried again until {bound})")
            last.code = error.code
            self._fail(record, last)

    def _bound_reached(self, deferral: Deferral) -> str | None:
        """The message for the bound that the failures in a row have reached, if any."""
        if deferral.own_tries >= self._settings.step_max_tries:
            return f"it had failed {deferral.tries} times in a row: VITRINE_STEP_MAX_TRIES"
        if deferral.failing_ms >= self._settings.outage_patience_s * 1000:
            return f"it had failed for {deferral.failing_ms / 1000:.0f} seconds: VITRINE_OUTAGE_PATIENCE_S"
        return None

    def _fail(self, record: JobRecord, error: VitrineError) -> None:
        self._end(record, lambda current: current.failed(error))

    def _end(self, record: JobRecord, change: Callable[[JobRecord], JobRecord]) -> None:
        ended = self._jobs.update(record.id, change)
        if self._counts is not None:
            self._counts.add("jobs", {ended.state.value: 1})
        self._steps.forget(record.id)
        if self._on_end is not None:
            self._on_end(ended)


def _failure(message: Message, error: VitrineError, deferral: Deferral, *, is_last: bool) -> StepFailure:
    return StepFailure(
        step=message.step,
        code=error.code,
        detail=error.detail,
        tries=deferral.tries,
        since=now(offset_s=-deferral.failing_ms / 1000),
        at=now(),
        retry_at=None if is_last else now(offset_s=deferral.delay_ms / 1000),
    )


def _without_failure_of(record: JobRecord, step: str) -> JobRecord:
    if record.last_failure is None or record.last_failure.step != step:
        return record
    return record.with_failure(None)
