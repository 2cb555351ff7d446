"""The indexer's Celery tasks. A message names a job and a batch; all else is in the job's record and plan."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from indexer.batches import index_batch
from indexer.finish import finish_indexing
from indexer.parts import process_parts
from indexer.single import change_product
from indexer.start import start_indexing
from indexer.steps import step_runner
from vitrine.errors import Unavailable
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import Attempt, always, task_context


@shared_task(bind=True, name=Task.INDEX_START.value)  # type: ignore[untyped-decorator]
def start(task: Any, job_id: str) -> None:
    """Lay out an indexing job."""
    parts = process_parts()

    def work(attempt: Attempt) -> None:
        start_indexing(parts, attempt.record)

    with task_context(task, job_id=job_id):
        message = Message(Task.INDEX_START, job_id)
        # Once the work is laid out the job has begun.
        step_runner(parts).run(message, work, starts_job=lambda record: record.batches is None)


@shared_task(bind=True, name=Task.INDEX_BATCH.value)  # type: ignore[untyped-decorator]
def batch(task: Any, job_id: str, number: int) -> None:
    """Index one batch."""
    parts = process_parts()

    def work(attempt: Attempt) -> None:
        index_batch(parts, attempt, number)

    with task_context(task, job_id=job_id, batch=number):
        # A batch that ends its worker is searched for the picture at fault.
        step_runner(parts).run(Message(Task.INDEX_BATCH, job_id, number), work, limits_crashes=False)


@shared_task(bind=True, name=Task.INDEX_FINISH.value)  # type: ignore[untyped-decorator]
def finish(task: Any, job_id: str) -> None:
    """Check and publish a collection."""
    parts = process_parts()

    def work(attempt: Attempt) -> dict[str, Any]:
        result = finish_indexing(parts, attempt.record)
        if result is None:
            raise Unavailable("Qdrant is still optimising the collection", retry_after_s=1.0)
        return result

    with task_context(task, job_id=job_id):
        step_runner(parts).run(Message(Task.INDEX_FINISH, job_id), work)


@shared_task(bind=True, name=Task.PRODUCT.value)  # type: ignore[untyped-decorator]
def product(task: Any, job_id: str) -> None:
    """Put or delete one product."""
    parts = process_parts()
    with task_context(task, job_id=job_id):
        message = Message(Task.PRODUCT, job_id)
        step_runner(parts).run(message, lambda attempt: change_product(parts, attempt.record), starts_job=always)
