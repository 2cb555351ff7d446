"""One batch of an indexing job. A batch that keeps taking its worker with it is gone through picture by picture, each
marked before it is touched, so that the next worker knows which one to leave out.
"""

from __future__ import annotations

from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.target import Target
from vitrine.jobs import BatchOutcome, JobFault, JobRecord
from vitrine.telemetry import get_logger
from vitrine.worker import Message, Task

_QUARANTINED = "quarantined"
# A worker may also die for a reason of its own while a picture is at work.
_DEATHS_TOLERATED = 2


def index_batch(parts: Parts, record: JobRecord, number: int) -> None:
    """Index a batch, count it, and publish the finish where it was the last. Raises any error of the tree."""
    target = Target.of(record)
    if number not in parts.jobs.finished_batches(target.job_id):
        planned = parts.plans.batch(target.job_id, number, dataset=target.dataset)
        ingest = Ingest(parts, collection=target.collection, release_id=target.release_id, root=target.root)
        step = Message(Task.INDEX_BATCH, target.job_id, number).step
        deaths = parts.steps.strike(target.job_id, step) - 1
        try:
            if deaths < parts.settings.poison_deaths:
                outcome = ingest.store(planned)
            else:
                outcome = _one_by_one(parts, target.job_id, step, ingest, planned)
        finally:
            parts.steps.take_back(target.job_id, step)
        parts.jobs.finish_batch(target.job_id, number, outcome)
        parts.steps.clear_retries(target.job_id, step)
    if len(parts.jobs.finished_batches(target.job_id)) == record.batches:
        parts.publisher.send(Message(Task.INDEX_FINISH, target.job_id), request_id=record.request_id)


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
