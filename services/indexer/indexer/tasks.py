"""The indexer's Celery tasks, and how the sweeper treats its unfinished jobs.

A message has a job's id and a batch number. Everything else is in the job's record and plan.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from indexer.dependencies import Dependencies, process_dependencies
from indexer.generations import remove_unfinished
from indexer.ingest import index_batch
from indexer.plan import IndexTarget
from indexer.products import change_product
from indexer.publish import finish_indexing
from indexer.start import start_indexing
from vitrine.errors import Unavailable
from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.jobs.celery import Message, Task, first_message
from vitrine.jobs.runner import Attempt, StepRunner, always, task_context
from vitrine.jobs.sweeper import SweepPolicy


@shared_task(bind=True, name=Task.INDEX_START.value)  # type: ignore[untyped-decorator]
def start(task: Any, job_id: str) -> None:
    """Plan an indexing job."""
    with task_context(task, job_id=job_id):
        run_step(process_dependencies(), Message(Task.INDEX_START, job_id))


@shared_task(bind=True, name=Task.INDEX_BATCH.value)  # type: ignore[untyped-decorator]
def batch(task: Any, job_id: str, number: int) -> None:
    """Index one batch."""
    with task_context(task, job_id=job_id, batch=number):
        run_step(process_dependencies(), Message(Task.INDEX_BATCH, job_id, number))


@shared_task(bind=True, name=Task.INDEX_FINISH.value)  # type: ignore[untyped-decorator]
def finish(task: Any, job_id: str) -> None:
    """Verify and publish a collection."""
    with task_context(task, job_id=job_id):
        run_step(process_dependencies(), Message(Task.INDEX_FINISH, job_id))


@shared_task(bind=True, name=Task.PRODUCT.value)  # type: ignore[untyped-decorator]
def product(task: Any, job_id: str) -> None:
    """Put, delete or restore one product."""
    with task_context(task, job_id=job_id):
        run_step(process_dependencies(), Message(Task.PRODUCT, job_id))


def run_step(deps: Dependencies, message: Message) -> None:
    """Do the work of a message. Raises BrokerUnavailable."""

    def work(attempt: Attempt) -> dict[str, Any] | None:
        match message.task:
            case Task.INDEX_START:
                start_indexing(deps, attempt.record)
                return None
            case Task.INDEX_BATCH:
                assert message.batch is not None
                index_batch(deps, attempt, message.batch)
                return None
            case Task.INDEX_FINISH:
                result = finish_indexing(deps, attempt.record)
                if result is None:
                    raise Unavailable("Qdrant is still optimising the collection", retry_after_s=1.0)
                return result
            case _:
                return change_product(deps, attempt.record)

    runner = step_runner(deps)
    match message.task:
        case Task.INDEX_START:
            # A job with a plan was started before.
            runner.run(message, work, starts_job=lambda record: record.batches is None)
        case Task.INDEX_BATCH:
            # A batch that crashes its worker is searched for the picture that does it.
            runner.run(message, work, limits_crashes=False)
        case Task.INDEX_FINISH:
            runner.run(message, work)
        case _:
            runner.run(message, work, starts_job=always)


def step_runner(deps: Dependencies) -> StepRunner:
    return StepRunner(
        deps.jobs,
        deps.steps,
        deps.settings,
        service="indexer",
        counts=deps.counts,
        on_end=lambda record: _clean_up(deps, record),
    )


def sweep_policy(deps: Dependencies) -> SweepPolicy:
    return SweepPolicy(cancel=step_runner(deps).cancel, due=lambda record: due_messages(deps, record))


def due_messages(deps: Dependencies, record: JobRecord) -> list[Message]:
    """The messages that an unfinished job needs to have under way."""
    if record.kind is not JobKind.INDEX or record.batches is None:
        return [first_message(record)]
    finished = deps.jobs.finished_batches(record.id)
    if len(finished) == record.batches:
        return [Message(Task.INDEX_FINISH, record.id)]
    return [Message(Task.INDEX_BATCH, record.id, number) for number in range(record.batches) if number not in finished]


def _clean_up(deps: Dependencies, record: JobRecord) -> None:
    """Remove the plan of an indexing that has ended, and its collection if it did not succeed. Remember its end."""
    if record.kind is JobKind.INDEX:
        deps.plans.remove(record.id)
        deps.schedules.note_ended(record)
        if record.state is not JobState.SUCCEEDED:
            remove_unfinished(deps, IndexTarget.of(record))
