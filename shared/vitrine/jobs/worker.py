"""Runs a worker in this process until SIGTERM, and announces in Redis that it is alive.

At SIGTERM, running tasks get the profile's soft shutdown time, unfinished messages go back to the queue, and the
process ends with status 0. billiard reads REMAP_SIGTERM when it is imported, so a service's `__main__` sets it before
it imports this module.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import redis
from billiard.common import REMAP_SIGTERM
from celery import Celery, signals

from vitrine.errors import BrokerFull, BrokerUnavailable
from vitrine.jobs import keys
from vitrine.jobs.celery import Profile, check_profile
from vitrine.jobs.record import now
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

TTL_S: Final = 15
INTERVAL_S: Final = 5.0
BEAT_INTERVAL_S: Final = 1.0
# A main loop that is this late hangs, or has lost its broker.
STALE_AFTER_S: Final = 30.0
_PROBE_KEY: Final = f"{keys.PREFIX}announcer-probe"


class Companion(Protocol):
    """A thread that runs beside the worker, in its parent process."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def run_worker(
    app: Celery,
    profile: Profile,
    *,
    service: str,
    concurrency: int,
    client: redis.Redis,
    companions: tuple[Companion, ...] = (),
) -> int:
    """Run until stopped. Returns the exit status: 0 after SIGTERM.

    Raises SettingsInvalid before anything starts if the configuration of `app` is not safe.
    """
    app.loader.import_default_modules()
    app.finalize()
    check_profile(app, remap_sigterm=REMAP_SIGTERM)
    announcer = Announcer(client, service=service, queues=tuple(queue.value for queue in profile.queues))
    stop_requested = False
    started: list[Companion] = []

    def on_ready(sender: Any, **_: Any) -> None:
        # Sent again after each reconnection, which clears the main loop's timer.
        announcer.beat()
        sender.timer.call_repeatedly(BEAT_INTERVAL_S, announcer.beat)
        if not started:
            for companion in (announcer, *companions):
                companion.start()
                started.append(companion)
            get_logger(service).info("worker_ready", concurrency=concurrency, queues=[*map(str, profile.queues)])

    def on_shutting_down(**_: Any) -> None:
        nonlocal stop_requested
        stop_requested = True

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
    get_logger(service).info("worker_stopped", asked=stop_requested)
    sys.stderr.flush()
    return 0 if stop_requested else status


def announcement_key(service: str, host: str, pid: int) -> str:
    return f"{keys.PREFIX}worker:{service}:{host}:{pid}"


class Announcer:
    """A thread that keeps a key in Redis while the worker lives: its service, host, process and queues.

    The key expires soon after the worker dies or hangs. The thread would outlive a hanging main loop, so it renews the
    key only while the main loop calls `beat`. A Redis at its memory limit refuses new keys, but it still extends the
    life of an existing one, so a running worker stays announced.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        service: str,
        queues: tuple[str, ...],
        interval_s: float = INTERVAL_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self._redis = client
        host = socket.gethostname()
        self._key = announcement_key(service, host, os.getpid())
        self._text = json.dumps(
            {"service": service, "host": host, "pid": os.getpid(), "started_at": now(), "queues": list(queues)}
        )
        self._interval_s = interval_s
        self._stale_after_s = stale_after_s
        self._beat_at_s: float | None = None
        self._stale = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._log = get_logger("announcer")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def beat(self) -> None:
        """Called by the worker's main loop. Without any call the worker is announced as long as its process lives."""
        self._beat_at_s = time.monotonic()

    def _run(self) -> None:
        while True:
            if self._main_loop_runs() or self._redis_is_full():
                self._write()
            if self._stopping.wait(self._interval_s):
                break
        with suppress(BrokerUnavailable, redis.RedisError), broker_errors():  # it expires anyway
            self._redis.delete(self._key)

    def _main_loop_runs(self) -> bool:
        beat_at_s = self._beat_at_s
        stale = beat_at_s is not None and time.monotonic() - beat_at_s > self._stale_after_s
        if stale is not self._stale:
            self._stale = stale
            if stale:
                self._log.warning("worker_not_consuming", for_s=self._stale_after_s)
            else:
                self._log.info("worker_consuming_again")
        return not stale

    def _redis_is_full(self) -> bool:
        """Whether that is why the main loop does not consume: it reconnects while Redis refuses writes."""
        try:
            with broker_errors():
                self._redis.set(_PROBE_KEY, "", px=1)
        except BrokerFull:
            return True
        except (BrokerUnavailable, redis.RedisError):
            return False
        return False

    def _write(self) -> None:
        try:
            with broker_errors():
                if not self._redis.expire(self._key, TTL_S):
                    self._redis.set(self._key, self._text, ex=TTL_S)
        except (BrokerUnavailable, redis.RedisError) as error:
            # The thread must survive every error of Redis, or the worker would no longer be announced.
            self._log.debug("announcement_failure", error=type(error).__name__)


@contextmanager
def _connected(signal: Any, receiver: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)
