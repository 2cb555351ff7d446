"""How the indexer's steps are run: by the runner of all workers. What an indexing leaves is cleaned up."""

from __future__ import annotations

from indexer.parts import Parts
from indexer.target import Target
from vitrine.errors import VitrineError
from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.jobs.celery import Message, Task, first_message
from vitrine.jobs.runner import StepRunner
from vitrine.jobs.sweeper import SweepPolicy
from vitrine.telemetry import get_logger


def step_runner(parts: Parts) -> StepRunner:
    """The runner of the indexer's steps."""
    return StepRunner(
        parts.jobs,
        parts.steps,
        parts.settings,
        service="indexer",
        counts=parts.counts,
        on_end=lambda record: _clean_up(parts, record),
    )


def sweep_policy(parts: Parts) -> SweepPolicy:
    """What the sweeper does with unfinished jobs of the indexer."""
    return SweepPolicy(cancel=step_runner(parts).cancel, due=lambda record: due_messages(parts, record))


def due_messages(parts: Parts, record: JobRecord) -> list[Message]:
    """The messages that an unfinished job needs to have under way."""
    if record.kind is not JobKind.INDEX or record.batches is None:
        return [first_message(record)]
    finished = parts.jobs.finished_batches(record.id)
    if len(finished) == record.batches:
        return [Message(Task.INDEX_FINISH, record.id)]
    return [Message(Task.INDEX_BATCH, record.id, number) for number in range(record.batches) if number not in finished]


def _clean_up(parts: Parts, record: JobRecord) -> None:
    """Remove the plan, and what an indexing that did not end well has built, where nothing else needs it: its
    collection stays if it served before or serves now.
    """
    if record.kind is not JobKind.INDEX:
        return
    parts.plans.remove(record.id)
    if record.state is JobState.SUCCEEDED:
        return
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
