"""The trainer's Celery tasks, one for each kind of job. The message names the job; who works on it is decided by a
lease, so a message that comes twice does no harm. How the job ends is written into its record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from celery import shared_task

from trainer.control import JobControl
from trainer.full_disk import telling_full_disk
from trainer.settings import Settings
from vitrine.errors import JobCancelled, JobFinished, JobNotFound, ReleaseError, VitrineError
from vitrine.jobs import JobRecord, JobStore, StepStore, open_redis
from vitrine.telemetry import configure_logging, get_logger
from vitrine.worker import Message, Task
from vitrine.worker.runner import task_context


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker's process works with."""

    settings: Settings
    jobs: JobStore
    steps: StepStore


@cache
def _parts() -> Parts:
    """Made once in each process of the pool, when its first task comes."""
    settings = Settings()
    configure_logging("trainer", level=settings.log_level, log_format=settings.log_format)
    client = open_redis(settings.redis_url)
    return Parts(settings, JobStore(client), StepStore(client))


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
    log = get_logger("trainer")
    step = Message(task, job_id).step
    try:
        with parts.steps.hold(job_id, step) as lease:
            if lease is None:
                return
            record = parts.jobs.update(job_id, lambda record: record.started(phase="starting"))
            deaths = parts.steps.strike(job_id, step) - 1
            if deaths >= parts.settings.trainer_max_deaths:
                given_up = ReleaseError(f"the job ended its worker {deaths} times, most likely for want of memory")
                _end(parts, job_id, lambda record: record.failed(given_up))
                return
            try:
                control = JobControl(job_id, parts.jobs, lease, parts.steps)
                with telling_full_disk(parts.settings):
                    result = work(record, control, parts.settings)
                _end(parts, job_id, lambda record: record.succeeded(result))
                log.info("job_success", **result)
            except JobCancelled:
                _end(parts, job_id, lambda record: record.cancelled())
            except VitrineError as error:
                if error.retryable:
                    parts.steps.defer(job_id, step)
                    log.warning("job_deferral", code=error.code, detail=error.detail)
                else:
                    failure = error
                    _end(parts, job_id, lambda record: record.failed(failure))
                    log.warning("job_failure", code=error.code, detail=error.detail)
            except Exception as defect:
                log.error("job_defect", exc_info=defect)
                unexpected = VitrineError(f"an unexpected error ended the job: {type(defect).__name__}")
                _end(parts, job_id, lambda record: record.failed(unexpected))
            parts.steps.take_back(job_id, step)
    except (JobFinished, JobNotFound):
        return


def _end(parts: Parts, job_id: str, change: Any) -> JobRecord | None:
    try:
        return parts.jobs.update(job_id, change)
    except JobFinished:
        return None
