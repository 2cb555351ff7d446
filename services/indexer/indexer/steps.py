"""How every step of a job is run: under a lease, with its failures sorted. One that passes sets the step aside for the
sweeper to bring back; one that stays ends the job; a cancellation ends it too and leaves what serves alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from indexer.parts import Parts
from indexer.target import Target
from vitrine.errors import DeadlineExpired, JobFinished, JobNotFound, VitrineError
from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.telemetry import get_logger
from vitrine.worker import Message

# Does a step's work. Returns the job's result where it ends the job.
Work = Callable[[JobRecord], dict[str, Any] | None]


def run_step(parts: Parts, message: Message, work: Work, *, first: bool = False) -> None:
    """Run one step, unless the job has ended or another worker holds it. `first` steps set a queued job running.

    Raises BrokerUnavailable alone: without Redis nothing can be noted, and the sweeper brings the step back.
    """
    job_id = message.job_id
    try:
        with parts.steps.hold(job_id, message.step) as lease:
            if lease is None:
                return
            record = parts.jobs.get(job_id)
            if first and record.batches is None:
                record = parts.jobs.update(job_id, lambda current: current.started(phase="starting"))
            if record.state is not JobState.RUNNING:
                return
            if record.cancel_requested:
                end_cancelled(parts, record)
                return
            _do(parts, message, record, work)
    except (JobFinished, JobNotFound):
        return


def end_cancelled(parts: Parts, record: JobRecord) -> None:
    """End a cancelled job. Its half-made collection goes, unless it served before or serves now."""
    parts.jobs.update(record.id, lambda current: current.cancelled())
    parts.counts.add("jobs", {JobState.CANCELLED.value: 1})
    _clean_up(parts, record)


def _do(parts: Parts, message: Message, record: JobRecord, work: Work) -> None:
    log = get_logger("indexer")
    try:
        result = work(record)
    except VitrineError as error:
        if error.retryable:
            _set_aside(parts, message, record, error)
            return
        log.warning("job_failure", code=error.code, detail=error.detail)
        _fail(parts, record, error)
    except SoftTimeLimitExceeded:
        # What the step has stored so far stays, so that the next try has less to do.
        _set_aside(parts, message, record, DeadlineExpired("the step took longer than a worker gives it"))
    except Exception as defect:
        log.error("job_defect", exc_info=defect)
        _fail(parts, record, VitrineError(f"an unexpected error ended the job: {type(defect).__name__}"))
    else:
        if result is not None:
            parts.jobs.update(record.id, lambda current: current.succeeded(result))
            parts.plans.remove(record.id)
            parts.counts.add("jobs", {JobState.SUCCEEDED.value: 1})
            log.info("job_success", **result)


def _set_aside(parts: Parts, message: Message, record: JobRecord, error: VitrineError) -> None:
    times = parts.steps.defer(message.job_id, message.step, at_least_ms=int((error.retry_after_s or 0) * 1000))
    parts.counts.add("deferrals", {error.code: 1})
    get_logger("indexer").warning("step_deferral", step=message.step, code=error.code, times=times)
    if times > parts.settings.batch_max_deferrals:
        _fail(parts, record, error)


def _fail(parts: Parts, record: JobRecord, error: VitrineError) -> None:
    parts.jobs.update(record.id, lambda current: current.failed(error))
    parts.counts.add("jobs", {JobState.FAILED.value: 1})
    _clean_up(parts, record)


def _clean_up(parts: Parts, record: JobRecord) -> None:
    """Remove what an indexing that did not end well has built, where nothing else needs it."""
    if record.kind is not JobKind.INDEX:
        return
    parts.plans.remove(record.id)
    target = Target.of(record)
    others = (other for other in parts.jobs.unfinished((JobKind.INDEX,)) if other.id != record.id)
    if any(Target.of(other).collection == target.collection for other in others):
        return
    try:
        if not parts.vectors.exists(target.collection):
            return
        metadata = parts.vectors.metadata(target.collection)
        aliased = parts.vectors.aliased()
        if metadata is not None and metadata.state == "building" and target.collection not in aliased:
            parts.vectors.drop(target.collection)
    except VitrineError as error:
        # The next indexing of this dataset and model removes it.
        get_logger("indexer").warning("clean_up_failure", collection=target.collection, code=error.code)
