"""Brings lost work back. For every unfinished job the service says which messages ought to be under way; the sweeper
publishes those that no worker holds, no deferral keeps, and no queue contains.

This is the only retry there is, for a lost message, a killed worker, a restarted broker and a failure that passes
alike. A message on its way from the queue to a lease is seen nowhere for a moment, so one is published only after two
sweeps in a row missed it; and one published needlessly does no harm. One worker of a service sweeps at a time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Collection
from typing import Final, Protocol

import redis

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import JobKind, JobRecord, JobStore, StepStore, keys
from vitrine.jobs.celery import Message
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

INTERVAL_S: Final = 1.5
_LOCK_TTL_S: Final = 5.0
_FULL_SCAN_EVERY: Final = 10
_TRIM_EVERY_S: Final = 600.0


class Duties(Protocol):
    """What a service tells the sweeper."""

    @property
    def kinds(self) -> Collection[JobKind]:
        """The kinds of job that are this service's."""

    def due(self, record: JobRecord, held: frozenset[str]) -> list[Message]:
        """The messages that this unfinished job needs to have under way. `held` are the steps that workers hold now.

        May end the job instead: one to be cancelled that nobody works on.
        """


class Sweeper:
    """A thread in the worker's parent process."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        service: str,
        duties: Duties,
        publisher: JobPublisher,
        interval_s: float = INTERVAL_S,
        keep_jobs: int = 1000,
        keep_days: float = 30.0,
    ) -> None:
        self._redis = client
        self._jobs = JobStore(client)
        self._steps = StepStore(client)
        self._duties = duties
        self._publisher = publisher
        self._interval_s = interval_s
        self._keep_jobs = keep_jobs
        self._keep_days = keep_days
        self._lock_key = f"{keys.PREFIX}sweeper:{service}"
        self._token = secrets.token_hex(8)
        self._missed: set[Message] = set()
        self._sweeps = 0
        self._trimmed_at_s = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._log = get_logger("sweeper")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def sweep(self) -> list[Message]:
        """Publish what two sweeps in a row found missing. Returns it."""
        missing = self._missing()
        lost = [message for message in missing if message in self._missed]
        for message in lost:
            self._publisher.send(message)
        self._missed = set(missing) - set(lost)
        if lost:
            self._log.info("work_republished", messages=len(lost), first=lost[0].step, job_id=lost[0].job_id)
        return lost

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                if self._is_mine():
                    self.sweep()
                    self._trim()
            except BrokerUnavailable:
                self._missed.clear()
            except Exception as defect:
                # The thread must outlive whatever one job does to it: without it nothing is retried.
                self._log.error("sweep_defect", exc_info=defect)
        try:
            if self._is_mine():
                self._redis.delete(self._lock_key)
        except (BrokerUnavailable, redis.RedisError):
            return  # it ends by itself

    def _missing(self) -> list[Message]:
        wanted: list[Message] = []
        for record in self._jobs.unfinished(self._duties.kinds):
            try:
                wanted += self._wanted(record)
            except BrokerUnavailable:
                raise
            except Exception as defect:
                # One job must not keep the others from being tried again.
                self._log.error("sweep_defect", job_id=record.id, exc_info=defect)
        self._sweeps += 1
        for queue in {message.queue for message in wanted}:
            here = [message for message in wanted if message.queue is queue]
            # Reading a long queue costs; while it is as long as what is wanted, it most likely holds just that.
            # Two full scans come in a row, since two sweeps in a row must miss a message.
            if self._publisher.waiting_count(queue) >= len(here) and self._sweeps % _FULL_SCAN_EVERY > 1:
                waiting = set(here)
            else:
                waiting = self._publisher.waiting(queue)
            wanted = [message for message in wanted if message not in waiting]
        return wanted

    def _wanted(self, record: JobRecord) -> list[Message]:
        """The job's messages that no worker holds and no deferral keeps."""
        held = self._steps.held(record.id)
        due = self._duties.due(record, held)
        if not due:
            return []
        aside = held | self._steps.deferred(record.id)
        return [message for message in due if message.step not in aside]

    def _is_mine(self) -> bool:
        with broker_errors():
            if self._redis.set(self._lock_key, self._token, nx=True, px=int(_LOCK_TTL_S * 1000)):
                return True
            holder = self._redis.get(self._lock_key)
            if holder is None or holder not in (self._token, self._token.encode()):
                self._missed.clear()
                return False
            self._redis.pexpire(self._lock_key, int(_LOCK_TTL_S * 1000))
            return True

    def _trim(self) -> None:
        if time.monotonic() - self._trimmed_at_s >= _TRIM_EVERY_S:
            self._trimmed_at_s = time.monotonic()
            self._jobs.trim(keep=self._keep_jobs, keep_days=self._keep_days)
