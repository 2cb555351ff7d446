"""What the sweeper must know of the trainer's jobs: each has one message, from its start to its end."""

from __future__ import annotations

from collections.abc import Collection

from vitrine.errors import JobFinished
from vitrine.jobs import JobKind, JobRecord, JobState, JobStore
from vitrine.jobs.celery import Message, first_message


class TrainerDuties:
    """The trainer's part in `vitrine.jobs.sweeper`."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    @property
    def kinds(self) -> Collection[JobKind]:
        return (
            JobKind.PROJECT,
            JobKind.TRAIN,
            JobKind.ADAPT,
            JobKind.TUNE,
            JobKind.EVALUATE,
            JobKind.EXPERIMENT,
            JobKind.VISUALIZE,
        )

    def due(self, record: JobRecord, held: frozenset[str]) -> list[Message]:
        message = first_message(record)
        if record.cancel_requested and record.state is JobState.RUNNING and message.step not in held:
            try:
                self._jobs.update(record.id, lambda current: current.cancelled())
            except JobFinished:
                return []
            return []
        return [message]
