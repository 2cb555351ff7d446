"""What the sweeper must know of the indexer's jobs: which messages each of them needs to have under way."""

from __future__ import annotations

from collections.abc import Collection

from indexer.parts import Parts
from indexer.steps import step_runner
from vitrine.errors import JobFinished
from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.jobs.celery import Message, Task, first_message


class IndexerDuties:
    """The indexer's part in `vitrine.jobs.sweeper`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def kinds(self) -> Collection[JobKind]:
        return (JobKind.INDEX, JobKind.UPSERT, JobKind.DELETE)

    def due(self, record: JobRecord, held: frozenset[str]) -> list[Message]:
        if record.cancel_requested and record.state is JobState.RUNNING and not held:
            try:
                step_runner(self._parts).cancel(record)
            except JobFinished:
                return []
            return []
        if record.kind is not JobKind.INDEX or record.batches is None:
            return [first_message(record)]
        finished = self._parts.jobs.finished_batches(record.id)
        if len(finished) == record.batches:
            return [Message(Task.INDEX_FINISH, record.id)]
        return [
            Message(Task.INDEX_BATCH, record.id, number) for number in range(record.batches) if number not in finished
        ]
