"""Republishes lost work. For every unfinished job it publishes the due messages that no worker holds, that are not
deferred and that are in no queue.

This is the only retry: after a lost message, a killed worker, a restarted broker and a retryable failure. A message on
its way from the queue to a lease is invisible for a moment, so it is published only if two sweeps in a row miss it. An
unnecessary message does no harm. One worker of a service sweeps at a time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import redis

from vitrine.errors import BrokerUnavailable, JobFinished
from vitrine.jobs import JobRecord, JobState, JobStore, StepStore, keys
from vitrine.jobs.celery import Message, Profile, first_message
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

INTERVAL_S: Final = 1.5
_LOCK_TTL_S: Final = 5.0
_FULL_SCAN_EVERY: Final = 10
_TRIM_EVERY_S: Final = 600.0


def _first_message(record: JobRecord) -> list[Message]:
    return [first_message(record)]


@dataclass(frozen=True, slots=True)
class SweepPolicy:
    """What a service does with its unfinished jobs.

    `due` returns the messages that a job needs to have under way; by default its first message. `cancel` ends a job
    whose cancellation was requested and that no worker holds.
    """

    cancel: Callable[[JobRecord], None]
    due: Callable[[JobRecord], list[Message]] = _first_message


class Sweeper:
    """A thread in the worker's parent process, for the jobs of one broker."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        service: str,
        profile: Profile,
        policy: SweepPolicy,
        publisher: JobPublisher,
        interval_s: float = INTERVAL_S,
        keep_jobs: int = 1000,
        keep_days: float = 30.0,
    ) -> None:
        self._redis = client
        self._jobs = JobStore(client)
        self._steps = StepStore(client)
        self._kinds = profile.kinds
        self._policy = policy
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
        """Publish and return the messages that two sweeps in a row found missing."""
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
                if self._holds_lock():
                    self.sweep()
                    self._trim()
            except BrokerUnavailable:
                self._missed.clear()
            except Exception as defect:
                # The thread must survive every error, because nothing is retried without it.
                self._log.error("sweep_defect", exc_info=defect)
        with suppress(BrokerUnavailable, redis.RedisError):  # the lock expires anyway
            if self._holds_lock():
                self._redis.delete(self._lock_key)

    def _missing(self) -> list[Message]:
        wanted: list[Message] = []
        for record in self._jobs.unfinished(self._kinds):
            try:
                wanted += self._wanted(record)
            except BrokerUnavailable:
                raise
            except Exception as defect:
                # One broken job must not stop the others from being retried.
                self._log.error("sweep_defect", job_id=record.id, exc_info=defect)
        self._sweeps += 1
        for queue in {message.queue for message in wanted}:
            here = [message for message in wanted if message.queue is queue]
            # Reading a long queue is expensive. If it is as long as the list of wanted messages, it most likely has
            # exactly those. Two full scans come in a row, because two sweeps in a row must miss a message.
            if self._publisher.waiting_count(queue) >= len(here) and self._sweeps % _FULL_SCAN_EVERY > 1:
                waiting = set(here)
            else:
                waiting = self._publisher.waiting(queue)
            wanted = [message for message in wanted if message not in waiting]
        return wanted

    def _wanted(self, record: JobRecord) -> list[Message]:
        """The job's due messages that no worker holds and that are not deferred."""
        held = self._steps.held(record.id)
        if record.cancel_requested and record.state is JobState.RUNNING and not held:
            with suppress(JobFinished):
                self._policy.cancel(record)
            return []
        due = self._policy.due(record)
        if not due:
            return []
        excluded = held | self._steps.deferred(record.id)
        return [message for message in due if message.step not in excluded]

    def _holds_lock(self) -> bool:
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
