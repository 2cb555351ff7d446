"""The Celery profile, and the check that refuses each unsafe change to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from indexer import tasks
from vitrine.errors import SettingsInvalid
from vitrine.jobs import JobKind
from vitrine.jobs.celery import (
    INDEX,
    PROFILE_OF,
    PROFILES,
    QUEUE_OF,
    TRAIN,
    Message,
    Queue,
    Task,
    celery_app,
    celery_config,
    check_profile,
    first_message,
)

REDIS_URL = "redis://127.0.0.1:1/0"


def app_of(profile: Any = INDEX) -> Celery:
    """An app that has the indexer's tasks: Celery adds shared tasks to every app of the process."""
    app = celery_app(profile, redis_url=REDIS_URL)
    app.finalize()
    assert tasks.batch.name in app.tasks
    return app


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_profiles_of_vitrine_pass(profile: Any) -> None:
    check_profile(app_of(profile), remap_sigterm="SIGQUIT")


def test_the_configuration_contains_no_unknown_setting() -> None:
    from celery.app.defaults import DEFAULTS

    unknown = set(celery_config(INDEX, redis_url=REDIS_URL)) - set(DEFAULTS)
    assert unknown == {"visibility_timeout"}  # read by the transports, not by Celery itself


DEFECTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "acknowledging early": (lambda conf: conf.update(task_acks_late=False), "task_acks_late"),
    "no retry of a lost process": (
        lambda conf: conf.update(task_retry_on_worker_lost=False), "task_retry_on_worker_lost"
    ),
    "no return of a lost message": (
        lambda conf: conf.update(task_reject_on_worker_lost=False), "task_reject_on_worker_lost"
    ),
    "prefetching": (lambda conf: conf.update(worker_prefetch_multiplier=4), "worker_prefetch_multiplier"),
    "a forked pool": (lambda conf: conf.update(worker_pool_start_method="fork"), "worker_pool_start_method"),
    "a solo pool": (lambda conf: conf.update(worker_pool="solo"), "worker_pool"),
    "pickle": (lambda conf: conf.update(accept_content=["json", "pickle"]), "accept_content"),
    "kept results": (lambda conf: conf.update(task_ignore_result=False), "task_ignore_result"),
    "a task that outlives the visibility timeout": (
        lambda conf: conf.update(task_time_limit=300), "visibility_timeout / 2"
    ),
    "no time limit": (lambda conf: conf.update(task_time_limit=None), "visibility_timeout / 2"),
    "a soft limit after the hard one": (lambda conf: conf.update(task_soft_time_limit=241), "task_soft_time_limit"),
    "visibility timeouts that differ": (lambda conf: conf.update(visibility_timeout=60), "one value everywhere"),
    "publishing that may wait for ever": (
        lambda conf: conf.update(broker_pool_acquire_timeout=None), "broker_pool_acquire_timeout"
    ),
    "no soft shutdown": (lambda conf: conf.update(worker_soft_shutdown_timeout=0), "worker_soft_shutdown_timeout"),
    "no socket timeout": (
        lambda conf: conf.update(
            broker_transport_options={**conf.broker_transport_options, "socket_timeout": None}
        ),
        "socket_timeout",
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_worker_refuses_to_start_with(defect: str) -> None:
    break_it, named = DEFECTS[defect]
    app = app_of()
    break_it(app.conf)
    with pytest.raises(SettingsInvalid, match=named):
        check_profile(app, remap_sigterm="SIGQUIT")


def test_a_worker_refuses_to_start_where_sigterm_would_wait_for_ever() -> None:
    with pytest.raises(SettingsInvalid, match="REMAP_SIGTERM"):
        check_profile(app_of(), remap_sigterm=None)


def test_a_worker_refuses_to_start_with_a_task_that_is_retried_for_ever() -> None:
    app = app_of()
    app.tasks[Task.INDEX_BATCH.value].max_retries = None
    with pytest.raises(SettingsInvalid, match=r"finite max_retries: indexer\.batch"):
        check_profile(app, remap_sigterm="SIGQUIT")


def test_a_worker_refuses_to_start_with_a_task_that_no_queue_carries() -> None:
    app = app_of()

    @app.task(name="somebody.elses", shared=False)  # type: ignore[untyped-decorator]
    def stray() -> None:
        """A task that is not in the table of tasks."""

    with pytest.raises(SettingsInvalid, match=r"somebody\.elses"):
        check_profile(app, remap_sigterm="SIGQUIT")


def test_training_and_indexing_share_neither_keys_nor_visibility_timeout() -> None:
    assert not INDEX.key_prefix.startswith(TRAIN.key_prefix)
    assert not TRAIN.key_prefix.startswith(INDEX.key_prefix)
    assert TRAIN.visibility_timeout_s > 24 * 3600 > INDEX.visibility_timeout_s
    assert all(profile.key_prefix.startswith("vitrine:") for profile in PROFILES)


def test_every_task_has_a_queue_and_every_queue_a_broker() -> None:
    assert set(QUEUE_OF) == set(Task)
    assert set(PROFILE_OF) == set(Queue)
    assert INDEX.queues[0] is Queue.PRODUCTS  # a single product must not wait behind a catalogue


@pytest.mark.parametrize("kind", JobKind)
def test_every_kind_of_job_has_a_first_message(kind: JobKind) -> None:
    from vitrine.jobs.operations import new_record

    message = first_message(new_record("0" * 21, kind, {}, None))
    assert message.args == ["0" * 21]


def test_steps_are_identified_by_batch() -> None:
    assert Message(Task.INDEX_BATCH, "j", 3).step == "batch:3"
    assert Message(Task.INDEX_FINISH, "j").step == "finish"


def test_the_producer_loads_neither_torch_nor_a_model() -> None:
    code = (
        "import sys, vitrine.jobs.publisher; print(sorted(m for m in ('torch', 'timm', 'sklearn') if m in sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_task_names_do_not_change_between_versions() -> None:
    """Messages of an earlier version may be in the queues, and the keys of leases and attempts contain the names."""
    assert {task.value for task in Task} == {
        "indexer.start", "indexer.batch", "indexer.finish", "indexer.product", "trainer.project", "trainer.train",
        "trainer.adapt", "trainer.tune", "trainer.evaluate", "trainer.experiment", "trainer.visualize",
        "trainer.health",
    }  # fmt: skip
