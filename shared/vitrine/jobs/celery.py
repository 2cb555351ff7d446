"""The Celery configuration of all workers and publishers, the tasks and queues, and a check at the worker's start.

Messages are acknowledged after the work. The message of a killed process is tried again a limited number of times, the
pool spawns its processes (it never forks), and no message runs longer than its visibility timeout. Indexing and
training are separate brokers in one Redis, with different key prefixes, because the shortest visibility timeout on a
broker wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from celery import Celery

from vitrine.errors import SettingsInvalid
from vitrine.jobs import JobKind, JobRecord, keys

MAX_RETRIES: Final = 3
RETRY_DELAY_S: Final = 1
_SOCKET_TIMEOUT_S: Final = 15.0
_CONNECT_TIMEOUT_S: Final = 3.0
_HEALTH_CHECK_INTERVAL_S: Final = 10
_PUBLISH_ACQUIRE_TIMEOUT_S: Final = 10.0


class Task(StrEnum):
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
    HEALTH = "trainer.health"


class Queue(StrEnum):
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
    Task.HEALTH: Queue.TRAIN,
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
    JobKind.HEALTH: Task.HEALTH,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A task for a job, or for one batch of it."""

    task: Task
    job_id: str
    batch: int | None = None

    @property
    def queue(self) -> Queue:
        return QUEUE_OF[self.task]

    @property
    def step(self) -> str:
        """The name of this work within its job, for leases and retries."""
        name = self.task.value.partition(".")[2]
        return name if self.batch is None else f"{name}:{self.batch}"

    @property
    def args(self) -> list[str | int]:
        return [self.job_id] if self.batch is None else [self.job_id, self.batch]


def first_message(record: JobRecord) -> Message:
    """The message that starts a job."""
    return Message(_FIRST_TASK[record.kind], record.id)


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of one broker. The first of `queues` is served first.

    A worker that is stopped while it has work always waits for `soft_shutdown_s`. A pool process ends after
    `tasks_per_process` tasks, which frees its memory; None: never.
    """

    name: str
    queues: tuple[Queue, ...]
    hard_limit_s: int
    soft_limit_s: int
    visibility_timeout_s: int
    soft_shutdown_s: float
    tasks_per_process: int | None = None

    @property
    def key_prefix(self) -> str:
        """The prefix of this broker's keys."""
        return f"{keys.PREFIX}broker:{self.name}:"

    @property
    def kinds(self) -> frozenset[JobKind]:
        """The kinds of job that run on this broker."""
        return frozenset(kind for kind, task in _FIRST_TASK.items() if QUEUE_OF[task] in self.queues)


INDEX: Final = Profile(
    name="index",
    queues=(Queue.PRODUCTS, Queue.INDEX),
    hard_limit_s=240,
    soft_limit_s=210,
    visibility_timeout_s=600,
    # Steps are short, and an interrupted one is repeated.
    soft_shutdown_s=3.0,
)
# The sweeper republishes a lost message within seconds, so this timeout only has to be longer than any training.
TRAIN: Final = Profile(
    name="train",
    queues=(Queue.TRAIN,),
    hard_limit_s=48 * 3600,
    soft_limit_s=47 * 3600,
    visibility_timeout_s=100 * 3600,
    soft_shutdown_s=20.0,
    # A training uses gigabytes that Python does not free. A new process imports torch only for its first job.
    tasks_per_process=1,
)
PROFILES: Final = (INDEX, TRAIN)
PROFILE_OF: Final[dict[Queue, Profile]] = {queue: profile for profile in PROFILES for queue in profile.queues}


def celery_app(profile: Profile, *, redis_url: str, include: tuple[str, ...] = ()) -> Celery:
    """A Celery app of this profile. Does not connect yet. `include` names the modules that define its tasks."""
    app = Celery("vitrine", set_as_current=False, include=list(include))
    app.conf.update(celery_config(profile, redis_url=redis_url))
    return app


def celery_config(profile: Profile, *, redis_url: str) -> dict[str, Any]:
    return {
        "broker_url": redis_url,
        "broker_transport_options": {
            "global_keyprefix": profile.key_prefix,
            "visibility_timeout": profile.visibility_timeout_s,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "queue_order_strategy": "priority",
            "socket_timeout": _SOCKET_TIMEOUT_S,
            "socket_connect_timeout": _CONNECT_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": _HEALTH_CHECK_INTERVAL_S,
        },
        "result_backend_transport_options": {"visibility_timeout": profile.visibility_timeout_s},
        "visibility_timeout": profile.visibility_timeout_s,
        "broker_connection_timeout": _CONNECT_TIMEOUT_S,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis at its memory limit refuses what a worker writes to consume. It tries again until there is room.
        "broker_channel_error_retry": True,
        "broker_pool_acquire_timeout": _PUBLISH_ACQUIRE_TIMEOUT_S,
        "task_publish_retry": True,
        "task_publish_retry_policy": {
            "max_retries": 3, "interval_start": 0.05, "interval_step": 0.2, "interval_max": 0.5
        },
        "task_default_queue": profile.queues[0].value,
        "task_routes": {task.value: {"queue": queue.value} for task, queue in QUEUE_OF.items()},
        "task_create_missing_queues": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "task_reject_on_worker_lost": True,
        "task_retry_on_worker_lost": True,
        "task_time_limit": profile.hard_limit_s,
        "task_soft_time_limit": profile.soft_limit_s,
        "task_annotations": {"*": {"max_retries": MAX_RETRIES, "default_retry_delay": RETRY_DELAY_S}},
        "worker_pool": "prefork",
        "worker_pool_start_method": "spawn",
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": profile.tasks_per_process,
        "worker_soft_shutdown_timeout": profile.soft_shutdown_s,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_proc_alive_timeout": 60.0,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
    }  # fmt: skip


def check_profile(app: Celery, *, remap_sigterm: str | None) -> None:
    """Raises SettingsInvalid with every setting that would let a worker of this app lose work or stop late.

    `remap_sigterm` is the value that billiard read from the environment when it was imported.
    """
    conf = app.conf
    wrong = [
        f"{name} is {conf.get(name)!r} and must be {wanted!r}"
        for name, wanted in _REQUIRED.items()
        if conf.get(name) != wanted
    ]
    transport = conf.broker_transport_options or {}
    timeouts_s = {
        "broker_transport_options": transport.get("visibility_timeout"),
        "result_backend_transport_options": (conf.result_backend_transport_options or {}).get("visibility_timeout"),
        "visibility_timeout": conf.get("visibility_timeout"),
    }
    if None in timeouts_s.values() or len(set(timeouts_s.values())) != 1:
        wrong.append(f"the visibility timeout must be set to one value everywhere, not {timeouts_s}")
    hard_s, soft_s, visible_s = conf.task_time_limit, conf.task_soft_time_limit, transport.get("visibility_timeout")
    if not hard_s or not soft_s or not visible_s or not soft_s < hard_s < visible_s / 2:
        wrong.append(
            "task_soft_time_limit < task_time_limit < visibility_timeout / 2 must hold, "
            f"and they are {soft_s}, {hard_s}, {visible_s}"
        )
    if not transport.get("socket_timeout") or not transport.get("health_check_interval"):
        wrong.append("the broker's socket_timeout and health_check_interval must be set")
    if not conf.broker_pool_acquire_timeout:
        wrong.append("broker_pool_acquire_timeout must be set: without it publishing may wait forever")
    if not conf.worker_soft_shutdown_timeout or remap_sigterm != "SIGQUIT":
        wrong.append("worker_soft_shutdown_timeout and REMAP_SIGTERM=SIGQUIT must both be set")
    unbounded = sorted(
        name
        for name, task in app.tasks.items()
        if not name.startswith("celery.") and (task.max_retries is None or not task.acks_late)
    )
    if unbounded:
        wrong.append(f"tasks must acknowledge late and have a finite max_retries: {', '.join(unbounded)}")
    unknown = sorted({name for name in app.tasks if not name.startswith("celery.")} - {task.value for task in Task})
    if unknown:
        wrong.append(f"tasks without a queue: {', '.join(unknown)}")
    if wrong:
        raise SettingsInvalid("this worker would not be safe to run: " + "; ".join(wrong))


_REQUIRED: Final[dict[str, Any]] = {
    "worker_pool": "prefork",
    "worker_pool_start_method": "spawn",
    "worker_prefetch_multiplier": 1,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_retry_on_worker_lost": True,
    "task_ignore_result": True,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "worker_cancel_long_running_tasks_on_connection_loss": True,
}
