"""Runs a worker in this process until SIGTERM: checks its profile, announces it, sweeps beside it, and on SIGTERM gives
running work its time, puts what is left back on the queue and ends with status 0.

The process pool's library reads REMAP_SIGTERM when it is loaded, so a service's `__main__` sets it (`prepare_process`)
before it imports this module.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import structlog
from billiard.common import REMAP_SIGTERM
from celery import Celery, signals

from vitrine.jobs.celery import Profile, check_profile
from vitrine.jobs.heartbeat import BEAT_INTERVAL_S, Announcer
from vitrine.telemetry import get_logger


class Companion(Protocol):
    """A thread that lives beside the worker."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def run_worker(
    app: Celery, profile: Profile, *, service: str, concurrency: int, companions: tuple[Companion, ...]
) -> int:
    """Run until told to stop. Returns the exit status: 0 where the stop was asked for.

    Raises SettingsInvalid before anything starts where the profile is not safe.
    """
    app.loader.import_default_modules()
    app.finalize()
    check_profile(app, remap_sigterm=REMAP_SIGTERM)
    asked_to_stop = False
    started: list[Companion] = []
    announcers = [companion for companion in companions if isinstance(companion, Announcer)]

    def on_ready(sender: Any, **_: Any) -> None:
        # Sent again after each reconnection, which forgets what was on the main loop's timer.
        for announcer in announcers:
            announcer.beat()
            sender.timer.call_repeatedly(BEAT_INTERVAL_S, announcer.beat)
        if not started:
            for companion in companions:
                companion.start()
                started.append(companion)
            get_logger(service).info("worker_ready", concurrency=concurrency, queues=[*map(str, profile.queues)])

    def on_shutting_down(**_: Any) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True

    with _connected(signals.worker_ready, on_ready), _connected(signals.worker_shutting_down, on_shutting_down):
        worker = app.Worker(
            hostname=f"{service}-{os.getpid()}@{socket.gethostname()}",
            concurrency=concurrency,
            queues=[queue.value for queue in profile.queues],
            optimization="fair",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="INFO",
        )
        try:
            worker.start()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        else:
            status = worker.exitcode or 0
        finally:
            for companion in started:
                companion.stop()
    get_logger(service).info("worker_stopped", asked=asked_to_stop)
    sys.stderr.flush()
    return 0 if asked_to_stop else status


@contextmanager
def task_context(task: Any, *, job_id: str, batch: int | None = None) -> Iterator[None]:
    """Bind job, batch, attempt and request id to everything logged while a task runs."""
    request = task.request
    fields: dict[str, Any] = {"job_id": job_id, "attempt": request.retries}
    if batch is not None:
        fields["batch"] = batch
    request_id = getattr(request, "request_id", None)
    if isinstance(request_id, str):
        fields["request_id"] = request_id
    if (request.delivery_info or {}).get("redelivered"):
        fields["redelivered"] = True
    with structlog.contextvars.bound_contextvars(**fields):
        yield


@contextmanager
def _connected(signal: Any, receiver: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)
