"""The steps of a job (its start, each batch, its finish): who works on them, when they are due again, how they failed.

A lease is short and renewed by a thread while the work goes on, so the step of a killed worker is free within seconds.
A deferral sets a step aside after a failure that may pass; the failures in a row set the wait. A try is counted before
the work begins and taken back when it ends in order, so what is left counts the tries that ended their process: kept in
Redis, the count survives the death of the whole worker.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import redis

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import keys, scripts, serialization
from vitrine.jobs.redis import broker_errors

LEASE_TTL_MS: Final = 8_000
_RENEWALS_PER_TTL: Final = 4
BACKOFF_BASE_MS: Final = 1_000
BACKOFF_CAP_MS: Final = 20_000
# A longer Retry-After would put a step off beyond what its caller can mean.
RETRY_AFTER_CAP_MS: Final = 300_000


class Lease:
    """A step held by this worker. `token` grows with every holder; `lost` is set once another worker took it.

    `prefix` is what the keys of the lease begin with.
    """

    def __init__(self, prefix: str, step: str, token: int) -> None:
        self.prefix = prefix
        self.step = step
        self.token = token
        self.lost = threading.Event()


@dataclass(frozen=True, slots=True)
class Deferral:
    """A step set aside. `tries` failed in a row, the first of them `failing_ms` ago; `delay_ms` is the wait.

    `own_tries` leaves out the failures for which a part was away that had not worked for any other step meanwhile.
    """

    tries: int
    own_tries: int
    failing_ms: int
    delay_ms: int


class StepStore:
    """Every call may raise BrokerUnavailable."""

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
        """Hold the step while the block runs; None where another worker holds it. Ends its deferral."""
        with self._kept(self.acquire(job_id, step)) as lease:
            yield lease

    @contextmanager
    def hold_turn(self, job_id: str, name: str) -> Iterator[Lease | None]:
        """Hold what only one job's step may do at a time, among all jobs; None where another one does it now."""
        with self._kept(self._take(keys.turn(name), name, job_id)) as lease:
            yield lease

    def acquire(self, job_id: str, step: str) -> Lease | None:
        """Take the step for one lease time, or None where another worker holds it or there is no such job."""
        return self._take(keys.job(job_id), step, job_id)

    def renew(self, lease: Lease) -> bool:
        """Keep the step for one more lease time; False where it has passed to somebody else."""
        with broker_errors():
            renewed = self._renew(keys=_lease_keys(lease.prefix), args=[lease.step, lease.token, self._ttl_ms])
        return int(renewed) == 1

    def release(self, lease: Lease) -> None:
        """Give the step back, unless it has passed to somebody else."""
        with broker_errors():
            self._release(keys=_lease_keys(lease.prefix), args=[lease.step, lease.token])

    def held(self, job_id: str) -> frozenset[str]:
        """The steps that a worker holds now."""
        with broker_errors():
            return frozenset(serialization.text(step) for step in self._held(keys=self._parts(job_id, "leases")))

    def defer(
        self, job_id: str, step: str, *, at_least_ms: int = 0, outage_of: str | None = None, own: bool = True
    ) -> Deferral | None:
        """Set the step aside: exponential backoff with jitter, capped, and never less than `at_least_ms`.

        The failure counts among `own_tries` if it is the step's `own`. With `outage_of`, the name of the part that was
        away, it counts only if that part has worked (`note_working`) since the step's last failure. None where the job
        is gone.
        """
        part = keys.part(job_id, "retries")
        with broker_errors():
            stored = self._redis.hget(part, step)
            before = 0 if stored is None else int(serialization.text(stored).split(":")[0])
            ceiling_ms = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** min(before, 16))
            jittered_ms = random.randint(ceiling_ms // 2, ceiling_ms)  # noqa: S311 - spreads load, hides nothing
            delay_ms = max(min(at_least_ms, RETRY_AFTER_CAP_MS), jittered_ms)
            reply = self._defer(
                keys=[*self._parts(job_id, "deferred", "retries"), keys.job(job_id), keys.WORKING],
                args=[step, delay_ms, "" if outage_of is None else outage_of, int(own)],
            )
        tries, own_tries, failing_ms = (int(value) for value in reply)
        return Deferral(tries, own_tries, failing_ms, delay_ms) if tries else None

    def note_working(self, *parts: str) -> None:
        """These parts of the system have just served a step."""
        with broker_errors(), self._redis.pipeline(transaction=False) as pipe:
            for part in parts:
                pipe.hincrby(keys.WORKING, part, 1)
            pipe.execute()

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
        return frozenset(serialization.text(step) for step, due_ms in steps if due_ms > now_ms)

    def begin(self, job_id: str, step: str) -> int:
        """Count a try of the step before its work begins. Returns how many tries before it ended their process."""
        with broker_errors():
            return int(self._begin(keys=[*self._parts(job_id, "crashes"), keys.job(job_id)], args=[step])) - 1

    def end(self, job_id: str, step: str) -> None:
        """The try came to an orderly end, whatever came of it: it does not count."""
        with broker_errors():
            self._end(keys=self._parts(job_id, "crashes"), args=[step])

    def reset_crashes(self, job_id: str, step: str) -> None:
        """The step got further than ever and keeps that: of its tries only the present one counts."""
        with broker_errors():
            self._reset(keys=self._parts(job_id, "crashes"), args=[step])

    def crash_count(self, job_id: str, step: str) -> int:
        """The tries that are under way or ended their process."""
        with broker_errors():
            return int(self._redis.hget(keys.part(job_id, "crashes"), step) or 0)

    def forget(self, job_id: str) -> None:
        """Remove what is kept of the steps of a job that has ended."""
        with broker_errors():
            self._redis.delete(*self._parts(job_id, "leases", "tokens", "deferred", "retries", "crashes", "suspects"))

    @contextmanager
    def _kept(self, lease: Lease | None) -> Iterator[Lease | None]:
        """Renew the lease while the block runs, and give it back."""
        if lease is None:
            yield None
            return
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(lease, done), name=f"lease-{lease.step}", daemon=True)
        keeper.start()
        try:
            yield lease
        finally:
            done.set()
            keeper.join()
            self._let_go(lease)

    def _take(self, prefix: str, step: str, job_id: str) -> Lease | None:
        with broker_errors():
            token = int(
                self._acquire(
                    keys=[*_lease_keys(prefix), f"{prefix}:deferred", keys.job(job_id)], args=[step, self._ttl_ms]
                )
            )
        return Lease(prefix, step, token) if token else None

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


def _lease_keys(prefix: str) -> list[str]:
    return [f"{prefix}:leases", f"{prefix}:tokens"]
