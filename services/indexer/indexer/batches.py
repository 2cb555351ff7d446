"""One batch of an indexing job."""

from __future__ import annotations

import time

from indexer.crash_search import CrashSearch
from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.target import Target
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import EMBEDDER, VECTOR_STORE, Attempt
from vitrine.telemetry import get_logger
from vitrine.uploads.store import Overlay


def index_batch(parts: Parts, attempt: Attempt, number: int) -> None:
    """Index a batch, count it, and publish the finish where it was the last. Raises any error of the tree."""
    record = attempt.record
    target = Target.of(record)
    if parts.jobs.batch_finished(target.job_id, number):
        finished = len(parts.jobs.finished_batches(target.job_id))
    else:
        started_s = time.monotonic()
        planned = parts.plans.batch(target.job_id, number, dataset=target.dataset)
        current = [one for one in planned if _is_current(parts.overlay, one)]
        ingest = Ingest(
            parts,
            dataset=target.dataset,
            release_id=target.release_id,
            collection=target.collection,
            root=target.root,
            source=target.source,
        )
        step = Message(Task.INDEX_BATCH, target.job_id, number).step
        search = CrashSearch(parts, job_id=target.job_id, step=step, crashes=attempt.crashes)
        outcome = search.store(current, ingest.store)
        outcome = outcome.model_copy(update={"skipped": outcome.skipped + len(planned) - len(current)})
        finished = parts.jobs.finish_batch(target.job_id, number, outcome).finished_batches
        search.finish()
        parts.steps.note_working(VECTOR_STORE, *([EMBEDDER] if outcome.done else []))
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
