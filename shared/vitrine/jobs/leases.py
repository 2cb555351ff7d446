"""The steps of a job (its start, each batch, its finish): leases, retries and crash counts, in Redis.

A lease is short, and a thread renews it during the work, so the step of a killed worker is free after seconds. After a
retryable failure a step is deferred, with exponential backoff. A try is counted before the work and uncounted after it,
so the remaining count is the number of tries that ended their process. The count survives the death of the worker.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import redis

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import keys, scripts
from vitrine.jobs.operations import text
from vitrine.jobs.redis import broker_errors

LEASE_TTL_MS: Final = 8_000
_RENEWALS_PER_TTL: Final = 4
BACKOFF_BASE_MS: Final = 1_000
BACKOFF_CAP_MS: Final = 20_000
# A longer Retry-After is not honoured.
RETRY_AFTER_CAP_MS: Final = 300_000


class Lease:
    """A step held by this worker. `token` grows with every holder. `lost` is set when another worker has taken it.

    `prefix` is the prefix of the lease's keys.
    """

    def __init__(self, prefix: str, step: str, token: int) -> None:
        self.prefix = prefix
        self.step = step
        self.token = token
        self.lost = threading.Event()


@dataclass(frozen=True, slots=True)
class Deferral:
    """A deferred step. `tries` failed in a row, the first of them `failing_ms` ago. It is due after `delay_ms`.

    `own_tries` does not count failures because of a dependency that worked for no other step in the meantime.
    """

    tries: int
    own_tries: int
    failing_ms: int
    delay_ms: int


class StepStore:
    """Every call raises BrokerUnavailable if Redis cannot answer."""

    def __init__(self, client: redis.Redis, *, lease_ttl_ms: int = LEASE_TTL_MS) -> None:
        self._redis = client
        self._ttl_ms = lease_ttl_ms
        self._acquire = client.register_script(scripts.ACQUIRE)
        self._renew = client.register_script(scripts.RENEW)
        self._release = client.register_script(scripts.RELEASE)
        self._held = client.register_script(scripts.HELD)
        self._defer = client.register_script(scripts.DEFER)
        self._begin = client.register_script(scripts.BEGIN)
        self._end = client.register_script(scripts.END)
        self._reset = client.register_script(scripts.RESET)

    @contextmanager
    def hold(self, job_id: str, step: str) -> Iterator[Lease | None]:
        """Hold the step while the block runs, or None if another worker holds it. Ends the step's deferral."""
        with self._renewed(self.acquire(job_id, step)) as lease:
            yield lease

    @contextmanager
    def hold_lock(self, job_id: str, name: str) -> Iterator[Lease | None]:
        """Hold a lock that all jobs share while the block runs, or None if another step holds it."""
        with self._renewed(self._acquire_at(keys.lock(name), name, job_id)) as lease:
            yield lease

    def acquire(self, job_id: str, step: str) -> Lease | None:
        """Take the step for one lease time. None if another worker holds it or the job does not exist."""
        return self._acquire_at(keys.job(job_id), step, job_id)

    def renew(self, lease: Lease) -> bool:
        """Extend the lease. False if another worker has taken the step."""
        with broker_errors():
            renewed = self._renew(keys=_lease_keys(lease.prefix), args=[lease.step, lease.token, self._ttl_ms])
        return int(renewed) == 1

    def release(self, lease: Lease) -> None:
        """Free the step, unless another worker has taken it."""
        with broker_errors():
            self._release(keys=_lease_keys(lease.prefix), args=[lease.step, lease.token])

    def held(self, job_id: str) -> frozenset[str]:
        """The steps that workers hold now."""
        with broker_errors():
            return frozenset(text(step) for step in self._held(keys=self._parts(job_id, "leases")))

    def defer(
        self, job_id: str, step: str, *, at_least_ms: int = 0, outage_of: str | None = None, own: bool = True
    ) -> Deferral | None:
        """Defer the step: exponential backoff with jitter, capped, and not less than `at_least_ms`.

        The failure counts in `own_tries` if it is the step's `own`. With `outage_of`, the name of the dependency that
        was away, it counts only if the dependency has worked (`note_working`) since the step's last failure. Returns
        None if the job is gone.
        """
        with broker_errors():
            stored = self._redis.hget(keys.part(job_id, "retries"), step)
            before = 0 if stored is None else int(text(stored).split(":")[0])
            ceiling_ms = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(before, 16))
            jittered_ms = random.randint(ceiling_ms // 2, ceiling_ms)  # noqa: S311 - spreads load, hides nothing
            delay_ms = max(min(at_least_ms, RETRY_AFTER_CAP_MS), jittered_ms)
            reply = self._defer(
                keys=[*self._parts(job_id, "deferred", "retries"), keys.job(job_id), keys.WORKING],
                args=[step, delay_ms, "" if outage_of is None else outage_of, int(own)],
            )
        tries, own_tries, failing_ms = (int(value) for value in reply)
        return Deferral(tries, own_tries, failing_ms, delay_ms) if tries else None

    def note_working(self, *dependencies: str) -> None:
        """These dependencies have just served a step."""
        with broker_errors(), self._redis.pipeline(transaction=False) as pipe:
            for dependency in dependencies:
                pipe.hincrby(keys.WORKING, dependency, 1)
            pipe.execute()

    def clear_retries(self, job_id: str, step: str) -> None:
        """The step succeeded: its next failure is a first one."""
        with broker_errors():
            self._redis.hdel(keys.part(job_id, "retries"), step)

    def deferred(self, job_id: str) -> frozenset[str]:
        """The steps that are not due yet."""
        with broker_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(keys.part(job_id, "deferred"), 0, -1, withscores=True)
            (seconds, microseconds), steps = pipe.execute()
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return frozenset(text(step) for step, due_ms in steps if due_ms > now_ms)

    def begin(self, job_id: str, step: str) -> int:
        """Count a try before its work. Returns the crash count: how many earlier tries ended their process."""
        with broker_errors():
            return int(self._begin(keys=[*self._parts(job_id, "crashes"), keys.job(job_id)], args=[step])) - 1

    def end(self, job_id: str, step: str) -> None:
        """Uncount a try that ended without a crash, whether it succeeded or not."""
        with broker_errors():
            self._end(keys=self._parts(job_id, "crashes"), args=[step])

    def reset_crashes(self, job_id: str, step: str) -> None:
        """The step made progress that it keeps: only the current try counts from now on."""
        with broker_errors():
            self._reset(keys=self._parts(job_id, "crashes"), args=[step])

    def forget(self, job_id: str) -> None:
        """Remove the state of the steps of a job that has ended."""
        with broker_errors():
            self._redis.delete(*self._parts(job_id, "leases", "tokens", "deferred", "retries", "crashes", "suspects"))

    @contextmanager
    def _renewed(self, lease: Lease | None) -> Iterator[Lease | None]:
        """Renew the lease while the block runs, and release it afterwards."""
        if lease is None:
            yield None
            return
        done = threading.Event()
        renewer = threading.Thread(
            target=self._keep_renewing, args=(lease, done), name=f"lease-{lease.step}", daemon=True
        )
        renewer.start()
        try:
            yield lease
        finally:
            done.set()
            renewer.join()
            with suppress(BrokerUnavailable):  # it expires anyway
                self.release(lease)

    def _acquire_at(self, prefix: str, step: str, job_id: str) -> Lease | None:
        with broker_errors():
            token = int(
                self._acquire(
                    keys=[*_lease_keys(prefix), f"{prefix}:deferred", keys.job(job_id)], args=[step, self._ttl_ms]
                )
            )
        return Lease(prefix, step, token) if token else None

    def _keep_renewing(self, lease: Lease, done: threading.Event) -> None:
        interval_s = self._ttl_ms / _RENEWALS_PER_TTL / 1000
        while not done.wait(interval_s):
            try:
                if not self.renew(lease):
                    lease.lost.set()
                    return
            except BrokerUnavailable:
                # Redis may be back before the lease expires. If not, another worker may take the step, and every step
                # may safely run twice.
                continue

    @staticmethod
    def _parts(job_id: str, *names: str) -> list[str]:
        return [keys.part(job_id, name) for name in names]


def _lease_keys(prefix: str) -> list[str]:
    return [f"{prefix}:leases", f"{prefix}:tokens"]
