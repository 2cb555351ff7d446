"""The trainer's Celery tasks, one for each kind of job.

A message only names its job. A lease decides which worker runs it, so a duplicated message does no harm, and the
outcome is written to the job's record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import redis
from celery import shared_task

from trainer.cancel_watch import CancelWatch
from trainer.full_disk import reporting_full_disk
from trainer.progress import JobProgress
from trainer.settings import Settings
from vitrine.errors import JobTooLarge
from vitrine.jobs import JobKind, JobRecord, JobStore, StepStore, open_redis
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import Attempt, StepRunner, always, task_context
from vitrine.telemetry import configure_logging
from vitrine.vision.process import configure_process

if TYPE_CHECKING:
    from trainer.jobs.job import Job

# The name of torch's error: this module does not import torch.
_GPU_OUT_OF_MEMORY: Final = "OutOfMemoryError"
_TASKS: Final = (
    Task.PROJECT,
    Task.TRAIN,
    Task.ADAPT,
    Task.TUNE,
    Task.EVALUATE,
    Task.EXPERIMENT,
    Task.VISUALIZE,
    Task.HEALTH,
)

Work = Callable[[JobRecord, JobProgress, Settings], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Dependencies shared by the tasks of a worker process."""

    settings: Settings
    jobs: JobStore
    steps: StepStore
    runner: StepRunner


def build_dependencies(settings: Settings, client: redis.Redis) -> Dependencies:
    """Nothing connects before it is used."""
    jobs, steps = JobStore(client), StepStore(client)
    return Dependencies(settings, jobs, steps, StepRunner(jobs, steps, settings, service="trainer"))


def run_job(dependencies: Dependencies, job_id: str, task: Task, work: Work) -> None:
    """Run a job, unless it has ended or another worker runs it. The sweeper repeats a job after a retryable failure."""

    def step(attempt: Attempt) -> dict[str, Any]:
        jobs, runner = dependencies.jobs, dependencies.runner
        progress = JobProgress(job_id, jobs, attempt.lease, dependencies.steps)
        with reporting_full_disk(dependencies.settings), CancelWatch(jobs, job_id, cancel=runner.cancel):
            try:
                return work(attempt.record, progress, dependencies.settings)
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and type(error).__name__ != _GPU_OUT_OF_MEMORY:
                    raise
                raise JobTooLarge(
                    "the job ran out of memory: lower its batch (optim.batch, VITRINE_TRAINER_BATCH) or input_px"
                ) from error

    dependencies.runner.run(Message(task, job_id), step, starts_job=always)


def _run(record: JobRecord, progress: JobProgress, settings: Settings) -> dict[str, Any]:
    return _job_type(record.kind)(record, progress, settings).run()


def _job_type(kind: JobKind) -> type[Job[Any]]:
    # Each job imports torch. The worker's parent process, which runs no job, stays small without it.
    match kind:
        case JobKind.PROJECT:
            from trainer.jobs.project import ProjectJob

            return ProjectJob
        case JobKind.TRAIN:
            from trainer.jobs.train import TrainJob

            return TrainJob
        case JobKind.ADAPT:
            from trainer.jobs.adapt import AdaptJob

            return AdaptJob
        case JobKind.TUNE:
            from trainer.jobs.tune import TuneJob

            return TuneJob
        case JobKind.EVALUATE:
            from trainer.jobs.evaluate import EvaluateJob

            return EvaluateJob
        case JobKind.EXPERIMENT:
            from trainer.jobs.experiment import ExperimentJob

            return ExperimentJob
        case JobKind.VISUALIZE:
            from trainer.jobs.visualize import VisualizeJob

            return VisualizeJob
        case JobKind.HEALTH:
            from trainer.jobs.health import HealthJob

            return HealthJob
        case _:
            raise AssertionError(f"the trainer has no job of the kind {kind}")


@cache
def _dependencies() -> Dependencies:
    """Built by the first task of a pool process."""
    configure_process()
    settings = Settings()
    configure_logging("trainer", level=settings.log_level, log_format=settings.log_format)
    return build_dependencies(settings, open_redis(settings.redis_url))


def _register(task: Task) -> None:
    @shared_task(bind=True, name=task.value)  # type: ignore[untyped-decorator]
    def run(celery_task: Any, job_id: str) -> None:
        with task_context(celery_task, job_id=job_id):
            run_job(_dependencies(), job_id, task, _run)


for _task in _TASKS:
    _register(_task)
