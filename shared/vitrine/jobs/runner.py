"""Runs every step of a job, in all workers: under a lease, with a crash count and bounded retries.

A retryable failure defers the step, and the sweeper publishes it again when it is due. Any other failure ends the job.
The record keeps the last failure while the step waits and if the job fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
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
# The dependency that an error reports as away. Other steps show whether it is.
_DEPENDENCIES: Final[tuple[tuple[type[VitrineError], str], ...]] = (
    (EmbedderUnavailable, EMBEDDER),
    (VectorStoreUnavailable, VECTOR_STORE),
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step. `crashes` counts the tries in a row before it that ended their process."""

    record: JobRecord
    lease: Lease
    crashes: int


# Does the work of a step. Returns the job's result if the step ends the job, else None.
Work = Callable[[Attempt], dict[str, Any] | None]


def always(_record: JobRecord) -> bool:
    """For a step that is the whole job: every try sets the job running."""
    return True


def _never(_record: JobRecord) -> bool:
    return False


class StepRunner:
    """Runs the steps of one service's jobs. `on_end` is called with the record of every job that ends here."""

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
        starts_job: Callable[[JobRecord], bool] = _never,
        limits_crashes: bool = True,
    ) -> None:
        """Run one step, unless the job has ended or another worker holds the step.

        `starts_job` decides if this step sets the job running. With `limits_crashes` the job fails after too many
        tries that ended their process; without it, the work handles them. Raises only BrokerUnavailable: without Redis
        nothing can be recorded, and the sweeper publishes the step again.
        """
        job_id = message.job_id
        try:
            with self._steps.hold(job_id, message.step) as lease:
                if lease is None:
                    return
                record = self._jobs.get(job_id)
                if starts_job(record):
                    record = self._jobs.update(job_id, lambda current: current.started(phase="starting"))
                if record.state is not JobState.RUNNING:
                    return
                if record.cancel_requested:
                    self.cancel(record)
                    return
                crashes = self._steps.begin(job_id, message.step)
                try:
                    if limits_crashes and crashes >= self._settings.step_max_crashes:
                        raise WorkerCrashed(
                            f"the step {message.step!r} ended its worker's process {crashes} times in a row, most "
                            "likely because it ran out of memory"
                        )
                    self._try(message, Attempt(record, lease, crashes), work)
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
        """Cancel a running job. Raises JobFinished."""
        self._end(record, lambda current: current.cancelled())

    def _try(self, message: Message, attempt: Attempt, work: Work) -> None:
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
                self._defer(message, record, error)
            else:
                self._log.warning("job_failure", code=error.code, detail=error.detail)
                self._fail(record, error)
        except SoftTimeLimitExceeded:
            # The next try has less to do, because what the step has stored stays.
            self._defer(message, record, DeadlineExpired("the step took longer than a worker gives it"))
        except Exception as defect:
            self._log.error("job_defect", exc_info=defect)
            self._fail(record, VitrineError(f"an unexpected error ended the job: {type(defect).__name__}"))
        else:
            self._note_success(message, record)
            if result is not None:
                self._end(record, lambda current: current.succeeded(result))
                self._log.info("job_success", **result)

    def _note_success(self, message: Message, record: JobRecord) -> None:
        self._steps.clear_retries(record.id, message.step)
        if record.last_failure is not None and record.last_failure.step == message.step:
            self._jobs.update(record.id, lambda current: _without_failure(current, message.step))

    def _defer(self, message: Message, record: JobRecord, error: VitrineError) -> None:
        dependency = next((name for kind, name in _DEPENDENCIES if isinstance(error, kind)), None)
        deferral = self._steps.defer(
            record.id,
            message.step,
            at_least_ms=int((error.retry_after_s or 0) * 1000),
            outage_of=dependency,
            # A request to wait is not the step's own failure. A repeatedly missed deadline is.
            own=not isinstance(error, Unavailable) or isinstance(error, DeadlineExpired),
        )
        if deferral is None:
            return
        if self._counts is not None:
            self._counts.add("deferrals", {error.code: 1})
        self._log.warning(
            "step_deferral", step=message.step, code=error.code, tries=deferral.tries, delay_ms=deferral.delay_ms
        )
        limit = self._reached_limit(deferral)
        failure = _failure(message, error, deferral, is_last=limit is not None)
        self._jobs.update(record.id, lambda current: current.with_failure(failure))
        if limit is not None:
            last = VitrineError(f"{error.detail} (the step {message.step!r} was tried again until {limit})")
            last.code = error.code
            self._fail(record, last)

    def _reached_limit(self, deferral: Deferral) -> str | None:
        """A description of the limit that the failures in a row have reached, or None."""
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


def _without_failure(record: JobRecord, step: str) -> JobRecord:
    if record.last_failure is None or record.last_failure.step != step:
        return record
    return record.with_failure(None)


@contextmanager
def task_context(task: Any, *, job_id: str, batch: int | None = None) -> Iterator[None]:
    """Bind the job, batch, attempt and request id of a Celery task to every log line of the block."""
    request = task.request
    fields: dict[str, Any] = {"job_id": job_id, "attempt": request.retries}
    if batch is not None:
        fields["batch"] = batch
    request_id = getattr(request, "request_id", None)
    if isinstance(request_id, str):
        fields["request_id"] = request_id
    if (request.delivery_info or {}).get("redelivered"):
        fields["redelivered"] = True
    with structlog.contextvars.bound_contextvars(**fields):
        yield
