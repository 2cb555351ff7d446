"""The trainer's Celery tasks, one for each kind of job. The message names the job; who works on it is decided by a
lease, so a message that comes twice does no harm. How the job ends is written into its record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import redis
from celery import shared_task

from trainer.cancel_watch import CancelWatch
from trainer.control import JobControl
from trainer.full_disk import telling_full_disk
from trainer.settings import Settings
from vitrine.errors import JobTooLarge
from vitrine.jobs import JobRecord, JobStore, StepStore, open_redis
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import Attempt, StepRunner, always, task_context
from vitrine.telemetry import configure_logging
from vitrine.vision.process import configure_process

# torch's error, by its name: this module does without torch.
_GPU_IS_FULL: Final = "OutOfMemoryError"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker's process works with."""

    settings: Settings
    jobs: JobStore
    steps: StepStore
    runner: StepRunner


def build_parts(settings: Settings, client: redis.Redis) -> Parts:
    """Make the parts; none of them connects before it is used."""
    jobs, steps = JobStore(client), StepStore(client)
    return Parts(settings, jobs, steps, StepRunner(jobs, steps, settings, service="trainer"))


@cache
def _parts() -> Parts:
    """Made once in each process of the pool, when its first task comes."""
    configure_process()
    settings = Settings()
    configure_logging("trainer", level=settings.log_level, log_format=settings.log_format)
    return build_parts(settings, open_redis(settings.redis_url))


@shared_task(bind=True, name=Task.PROJECT.value)  # type: ignore[untyped-decorator]
def project(task: Any, job_id: str) -> None:
    """Make a release of a network as it is."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.PROJECT, _project)


@shared_task(bind=True, name=Task.TRAIN.value)  # type: ignore[untyped-decorator]
def train(task: Any, job_id: str) -> None:
    """Train a network by a recipe and make a release of it."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.TRAIN, _train)


@shared_task(bind=True, name=Task.ADAPT.value)  # type: ignore[untyped-decorator]
def adapt(task: Any, job_id: str) -> None:
    """Adapt a release's batch normalisation to a catalogue."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.ADAPT, _adapt)


@shared_task(bind=True, name=Task.TUNE.value)  # type: ignore[untyped-decorator]
def tune(task: Any, job_id: str) -> None:
    """Choose a release's projection anew and make a release of it."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.TUNE, _tune)


@shared_task(bind=True, name=Task.EVALUATE.value)  # type: ignore[untyped-decorator]
def evaluate(task: Any, job_id: str) -> None:
    """Measure releases on a catalogue and write a report."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.EVALUATE, _evaluate)


@shared_task(bind=True, name=Task.EXPERIMENT.value)  # type: ignore[untyped-decorator]
def experiment(task: Any, job_id: str) -> None:
    """Make and measure the releases of an experiment and write its report."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.EXPERIMENT, _experiment)


@shared_task(bind=True, name=Task.VISUALIZE.value)  # type: ignore[untyped-decorator]
def visualize(task: Any, job_id: str) -> None:
    """Draw a map of a catalogue as a release sees it."""
    with task_context(task, job_id=job_id):
        run_job(_parts(), job_id, Task.VISUALIZE, _visualize)


# Torch comes with these imports: the worker's parent process, which runs no job, does without it.


def _project(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.project import ProjectJob

    return ProjectJob(record, control, settings).run()


def _train(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.training_job import TrainJob

    return TrainJob(record, control, settings).run()


def _adapt(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.adapting import AdaptJob

    return AdaptJob(record, control, settings).run()


def _tune(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.tuning_job import TuneJob

    return TuneJob(record, control, settings).run()


def _evaluate(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.evaluating_job import EvaluateJob

    return EvaluateJob(record, control, settings).run()


def _experiment(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.experiment_job import ExperimentJob

    return ExperimentJob(record, control, settings).run()


def _visualize(record: JobRecord, control: JobControl, settings: Settings) -> dict[str, Any]:
    from trainer.visualizing_job import VisualizeJob

    return VisualizeJob(record, control, settings).run()


Work = Callable[[JobRecord, JobControl, Settings], dict[str, Any]]


def run_job(parts: Parts, job_id: str, task: Task, work: Work) -> None:
    """Run a job, unless it has ended or another worker runs it. A failure that passes is tried again by the sweeper."""

    def step(attempt: Attempt) -> dict[str, Any]:
        control = JobControl(job_id, parts.jobs, attempt.lease, parts.steps)
        with telling_full_disk(parts.settings), CancelWatch(parts.jobs, job_id, cancel=parts.runner.cancel):
            try:
                return work(attempt.record, control, parts.settings)
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and type(error).__name__ != _GPU_IS_FULL:
                    raise
                raise JobTooLarge(
                    "the job found no more memory: lower its batch (optim.batch, VITRINE_TRAINER_BATCH) or input_px"
                ) from error

    parts.runner.run(Message(task, job_id), step, starts_job=always)
