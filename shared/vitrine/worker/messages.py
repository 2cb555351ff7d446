"""The messages that move work: a task's name, a job's id and, for a batch, its number. Nothing else travels, so a
message that is lost can be written anew from the job's record, and one that comes twice does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vitrine.jobs import JobKind, JobRecord


class Task(StrEnum):
    """Every task there is."""

    INDEX_START = "indexer.start"
    INDEX_BATCH = "indexer.batch"
    INDEX_FINISH = "indexer.finish"
    PRODUCT = "indexer.product"
    PROJECT = "trainer.project"
    TRAIN = "trainer.train"
    ADAPT = "trainer.adapt"
    TUNE = "trainer.tune"
    EVALUATE = "trainer.evaluate"
    EXPERIMENT = "trainer.experiment"
    VISUALIZE = "trainer.visualize"


class Queue(StrEnum):
    """Every queue there is."""

    INDEX = "index"
    PRODUCTS = "products"
    TRAIN = "train"


QUEUE_OF: Final[dict[Task, Queue]] = {
    Task.INDEX_START: Queue.INDEX,
    Task.INDEX_BATCH: Queue.INDEX,
    Task.INDEX_FINISH: Queue.INDEX,
    Task.PRODUCT: Queue.PRODUCTS,
    Task.PROJECT: Queue.TRAIN,
    Task.TRAIN: Queue.TRAIN,
    Task.ADAPT: Queue.TRAIN,
    Task.TUNE: Queue.TRAIN,
    Task.EVALUATE: Queue.TRAIN,
    Task.EXPERIMENT: Queue.TRAIN,
    Task.VISUALIZE: Queue.TRAIN,
}
_FIRST_TASK: Final[dict[JobKind, Task]] = {
    JobKind.INDEX: Task.INDEX_START,
    JobKind.UPSERT: Task.PRODUCT,
    JobKind.DELETE: Task.PRODUCT,
    JobKind.PROJECT: Task.PROJECT,
    JobKind.TRAIN: Task.TRAIN,
    JobKind.ADAPT: Task.ADAPT,
    JobKind.TUNE: Task.TUNE,
    JobKind.EVALUATE: Task.EVALUATE,
    JobKind.EXPERIMENT: Task.EXPERIMENT,
    JobKind.VISUALIZE: Task.VISUALIZE,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One piece of work to be done."""

    task: Task
    job_id: str
    batch: int | None = None

    @property
    def queue(self) -> Queue:
        return QUEUE_OF[self.task]

    @property
    def step(self) -> str:
        """The name of the work within its job, under which it is leased and deferred."""
        name = self.task.value.partition(".")[2]
        return name if self.batch is None else f"{name}:{self.batch}"

    @property
    def args(self) -> list[str | int]:
        return [self.job_id] if self.batch is None else [self.job_id, self.batch]


def first_message(record: JobRecord) -> Message:
    """The message that sets a job going."""
    return Message(_FIRST_TASK[record.kind], record.id)
