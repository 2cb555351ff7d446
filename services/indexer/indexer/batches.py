"""One batch of an indexing job. A batch that keeps taking its worker with it is gone through picture by picture, each
marked before it is touched, so that the next worker knows which one to leave out.
"""

from __future__ import annotations

import time

from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.target import Target
from vitrine.jobs import BatchOutcome, JobFault, JobRecord
from vitrine.overlay import Overlay
from vitrine.telemetry import get_logger
from vitrine.worker import Message, Task

_QUARANTINED = "quarantined"
# A worker may also die for a reason of its own while a picture is at work.
_DEATHS_TOLERATED = 2


def index_batch(parts: Parts, record: JobRecord, number: int) -> None:
    """Index a batch, count it, and publish the finish where it was the last. Raises any error of the tree."""
    target = Target.of(record)
    if parts.jobs.batch_finished(target.job_id, number):
        finished = len(parts.jobs.finished_batches(target.job_id))
    else:
        started_s = time.monotonic()
        planned = parts.plans.batch(target.job_id, number, dataset=target.dataset)
        current = [one for one in planned if _is_current(parts.overlay, one)]
        ingest = Ingest(parts, dataset=target.dataset, release_id=target.release_id, root=target.root)
        outcome = _at_risk(parts, target.job_id, number, ingest, current)
        outcome = outcome.model_copy(update={"skipped": outcome.skipped + len(planned) - len(current)})
        finished = parts.jobs.finish_batch(target.job_id, number, outcome).finished_batches
        parts.steps.clear_retries(target.job_id, _step(target.job_id, number))
        parts.counts.add("pictures", {"done": outcome.done, "skipped": outcome.skipped, "failed": outcome.failed})
        parts.counts.add("stage_seconds", ingest.took_s)
        get_logger("indexer").info(
            "batch_success",
            done=outcome.done,
            skipped=outcome.skipped,
            failed=outcome.failed,
            took_ms=round((time.monotonic() - started_s) * 1000),
            **{f"{stage}_ms": round(took_s * 1000) for stage, took_s in ingest.took_s.items()},
        )
    if finished == record.batches:
        parts.publisher.send(Message(Task.INDEX_FINISH, target.job_id), request_id=record.request_id)


def _is_current(overlay: Overlay, planned: Planned) -> bool:
    """Whether the product was neither put nor deleted since the plan was made: the finish sees to one that was."""
    product = planned.product
    if planned.origin == "upload":
        return overlay.get(product.dataset, product.id) == product
    return overlay.get(product.dataset, product.id) is None and not overlay.is_deleted(product.dataset, product.id)


def _step(job_id: str, number: int) -> str:
    return Message(Task.INDEX_BATCH, job_id, number).step


def _at_risk(parts: Parts, job_id: str, number: int, ingest: Ingest, planned: list[Planned]) -> BatchOutcome:
    """Store a batch that may take this worker with it. A death leaves its strike, any other end takes it back."""
    step = _step(job_id, number)
    deaths = parts.steps.strike(job_id, step) - 1
    try:
        if deaths < parts.settings.poison_deaths:
            return ingest.store(planned)
        return _one_by_one(parts, job_id, step, ingest, planned)
    finally:
        parts.steps.take_back(job_id, step)


def _one_by_one(parts: Parts, job_id: str, step: str, ingest: Ingest, planned: list[Planned]) -> BatchOutcome:
    done = skipped = 0
    faults: list[JobFault] = []
    for one in planned:
        mark = f"{step}:{one.product.id}"
        if parts.steps.strikes(job_id, mark) >= _DEATHS_TOLERATED:
            get_logger("indexer").warning("picture_quarantine", product=one.product.id)
            detail = "the worker died each time it came to this picture, so it is left out"
            faults.append(JobFault(product_id=one.product.id, kind=_QUARANTINED, detail=detail))
            continue
        parts.steps.strike(job_id, mark)
        try:
            outcome = ingest.store([one])
        finally:
            parts.steps.take_back(job_id, mark)
        done, skipped = done + outcome.done, skipped + outcome.skipped
        faults.extend(outcome.faults)
    return BatchOutcome(done=done, skipped=skipped, faults=tuple(faults))
