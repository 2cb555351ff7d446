"""The steps of a job (its start, each batch, its finish) and who works on them: leases, deferrals, strikes.

A lease is short and renewed by a thread while the work goes on, so a killed worker's step is free within seconds. A
deferral says when a step that met a passing failure is due again; how often it came in a row sets the wait. A strike is
counted before dangerous work and taken back after it, so that what is left counts the workers that died of it; long
work that keeps what it has done is pardoned as it gets on.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import keys, lua, wire
from vitrine.jobs.connect import broker_errors

LEASE_TTL_MS: Final = 8_000
_RENEWALS_PER_TTL: Final = 4
BACKOFF_BASE_MS: Final = 1_000
BACKOFF_CAP_MS: Final = 20_000


class Lease:
    """A step held by this worker. `token` grows with every holder; `lost` is set once it passed to somebody else."""

    def __init__(self, job_id: str, step: str, token: int) -> None:
        self.job_id = job_id
        self.step = step
        self.token = token
        self.lost = threading.Event()


class StepStore:
    """Every call may raise BrokerUnavailable."""

    def __init__(self, client: redis.Redis, *, lease_ttl_ms: int = LEASE_TTL_MS) -> None:
        self._redis = client
        self._ttl_ms = lease_ttl_ms
        self._acquire = client.register_script(lua.ACQUIRE)
        self._renew = client.register_script(lua.RENEW)
        self._release = client.register_script(lua.RELEASE)
        self._held = client.register_script(lua.HELD)
        self._defer = client.register_script(lua.DEFER)

    @contextmanager
    def hold(self, job_id: str, step: str) -> Iterator[Lease | None]:
        """Hold the step while the block runs; None where another worker holds it. Ends its deferral."""
        lease = self.acquire(job_id, step)
        if lease is None:
            yield None
            return
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(lease, done), name=f"lease-{step}", daemon=True)
        keeper.start()
        try:
            yield lease
        finally:
            done.set()
            keeper.join()
            self._let_go(lease)

    def acquire(self, job_id: str, step: str) -> Lease | None:
        """Take the step for one lease time, or None where another worker holds it or there is no such job."""
        with broker_errors():
            token = int(
                self._acquire(
                    keys=[*self._parts(job_id, "leases", "tokens", "deferred"), keys.job(job_id)],
                    args=[step, self._ttl_ms],
                )
            )
        return Lease(job_id, step, token) if token else None

    def renew(self, lease: Lease) -> bool:
        """Keep the step for one more lease time; False where it has passed to somebody else."""
        with broker_errors():
            renewed = self._renew(
                keys=self._parts(lease.job_id, "leases", "tokens"), args=[lease.step, lease.token, self._ttl_ms]
            )
        return int(renewed) == 1

    def release(self, lease: Lease) -> None:
        """Give the step back, unless it has passed to somebody else."""
        with broker_errors():
            self._release(keys=self._parts(lease.job_id, "leases", "tokens"), args=[lease.step, lease.token])

    def held(self, job_id: str) -> frozenset[str]:
        """The steps that a worker holds now."""
        with broker_errors():
            return frozenset(wire.text(step) for step in self._held(keys=self._parts(job_id, "leases")))

    def defer(self, job_id: str, step: str, *, at_least_ms: int = 0) -> int:
        """Set the step aside: exponential backoff with full jitter, capped, and never less than `at_least_ms`.

        Returns how often in a row it has been set aside.
        """
        part = keys.part(job_id, "retries")
        with broker_errors():
            before = int(self._redis.hget(part, step) or 0)
            ceiling_ms = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(before, 16))
            delay_ms = max(at_least_ms, random.randint(0, ceiling_ms))  # noqa: S311 - spreads load, hides nothing
            return int(
                self._defer(keys=[*self._parts(job_id, "deferred", "retries"), keys.job(job_id)], args=[step, delay_ms])
            )

    def clear_retries(self, job_id: str, step: str) -> None:
        """The step got through: its next failure is its first."""
        with broker_errors():
            self._redis.hdel(keys.part(job_id, "retries"), step)

    def deferred(self, job_id: str) -> frozenset[str]:
        """The steps whose time has not come."""
        with broker_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(keys.part(job_id, "deferred"), 0, -1, withscores=True)
            (seconds, microseconds), steps = pipe.execute()
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return frozenset(wire.text(step) for step, due_ms in steps if due_ms > now_ms)

    def strike(self, job_id: str, step: str) -> int:
        """Count a strike against the step before it begins. Returns how many there are, this one included."""
        with broker_errors():
            return int(self._redis.hincrby(keys.part(job_id, "strikes"), step, 1))

    def take_back(self, job_id: str, step: str) -> None:
        """The step came to an orderly end: its strike does not count."""
        with broker_errors():
            self._redis.hincrby(keys.part(job_id, "strikes"), step, -1)

    def pardon(self, job_id: str, step: str) -> None:
        """The step has got further than ever: of its strikes only the one of this attempt stays."""
        with broker_errors():
            self._redis.hset(keys.part(job_id, "strikes"), step, 1)

    def strikes(self, job_id: str, step: str) -> int:
        with broker_errors():
            return int(self._redis.hget(keys.part(job_id, "strikes"), step) or 0)

    def _keep(self, lease: Lease, done: threading.Event) -> None:
        interval_s = self._ttl_ms / _RENEWALS_PER_TTL / 1000
        while not done.wait(interval_s):
            try:
                if not self.renew(lease):
                    lease.lost.set()
                    return
            except BrokerUnavailable:
                # Redis may be back before the lease ends; if not, another worker may take the step, and all that a
                # step does may safely be done twice.
                continue

    def _let_go(self, lease: Lease) -> None:
        try:
            self.release(lease)
        except BrokerUnavailable:
            return  # it ends by itself

    @staticmethod
    def _parts(job_id: str, *names: str) -> list[str]:
        return [keys.part(job_id, name) for name in names]
