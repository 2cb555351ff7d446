"""Job records in Redis: the sync store for workers, the async one for the search API. They share their operations.

Every call raises BrokerUnavailable if Redis cannot answer.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import redis
import redis.asyncio

from vitrine.jobs import keys, operations, scripts
from vitrine.jobs.operations import Call, Operation, text
from vitrine.jobs.record import MAX_FAULTS_OF_A_KIND, BatchOutcome, JobFault, JobKind, JobRecord, JobState
from vitrine.jobs.redis import broker_errors

_DAY_S: Final = 86_400.0
_BATCH_PARTS: Final = ("batches", "faults", "fault_counts")
_SOURCE_PARTS: Final = ("sources", "faults", "fault_counts")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchMark:
    """`counted`: this call counted the batch. `running`: the job still runs. `finished_batches`: how many are done."""

    counted: bool
    running: bool
    finished_batches: int


class JobStore:
    """Sync. Thread-safe."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def create(
        self,
        kind: JobKind,
        params: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """See `operations.create`. Publish the job's message afterwards; if that is lost, the sweeper publishes it."""
        return self._run(operations.create(kind, params, idempotency_key=idempotency_key, request_id=request_id))

    def get(self, job_id: str) -> JobRecord:
        """The current record. Raises JobNotFound."""
        return self._run(operations.read(job_id))[0]

    def list(
        self, *, limit: int = 50, kind: JobKind | None = None, state: JobState | None = None
    ) -> builtins.list[JobRecord]:
        """Up to `limit` jobs, newest first, without the lists of faults."""
        return self._run(operations.newest(limit=limit, kind=kind, state=state))

    def unfinished(self, kinds: Collection[JobKind]) -> builtins.list[JobRecord]:
        """The queued and running jobs of these kinds, oldest first."""
        with broker_errors():
            ids = [text(one) for one in self._redis.zrange(keys.UNFINISHED, 0, -1)]
            with self._redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.exists(keys.job(job_id))
                gone = [job_id for job_id, exists in zip(ids, pipe.execute(), strict=True) if not exists]
            if gone:  # removed by hand, or lost by Redis: nothing else removes them from this list
                self._redis.zrem(keys.UNFINISHED, *gone)
        records = self._run(operations.read_many(ids))
        return [record for record in records if record.kind in kinds and not record.state.finished]

    def update(self, job_id: str, change: operations.Change) -> JobRecord:
        """See `operations.update`."""
        return self._run(operations.update(job_id, change))

    def request_cancel(self, job_id: str) -> JobRecord:
        """See `operations.request_cancel`."""
        return self._run(operations.request_cancel(job_id))

    def finish_batch(self, job_id: str, batch: int, outcome: BatchOutcome) -> BatchMark:
        """Count a batch as finished. The first outcome counts. Nothing is counted if the job does not run."""
        faults, counts = operations.dump_faults((*outcome.faults, *outcome.picture_faults))
        mark, finished = self._run_script(
            scripts.FINISH_BATCH,
            [keys.job(keys.check_job_id(job_id)), *(keys.part(job_id, name) for name in _BATCH_PARTS)],
            [
                batch, outcome.model_dump_json(), outcome.done, outcome.failed, outcome.skipped,
                faults, counts, MAX_FAULTS_OF_A_KIND, keys.events(job_id),
            ],
        )  # fmt: skip
        return BatchMark(counted=int(mark) == 1, running=int(mark) >= 0, finished_batches=int(finished))

    def note_faults(self, job_id: str, source: str, faults: Iterable[JobFault]) -> bool:
        """Count faults that belong to no batch, for example of a catalogue's rows. Counted once per `source`."""
        listed, counts = operations.dump_faults(faults)
        reply = self._run_script(
            scripts.NOTE_FAULTS,
            [keys.job(keys.check_job_id(job_id)), *(keys.part(job_id, name) for name in _SOURCE_PARTS)],
            [source, listed, counts, MAX_FAULTS_OF_A_KIND, keys.events(job_id)],
        )
        return int(reply) == 1

    def batch_finished(self, job_id: str, batch: int) -> bool:
        with broker_errors():
            return bool(self._redis.hexists(_batches(job_id), str(batch)))

    def finished_batches(self, job_id: str) -> frozenset[int]:
        """The numbers of the finished batches."""
        with broker_errors():
            return frozenset(int(field) for field in self._redis.hkeys(_batches(job_id)))

    def outcomes(self, job_id: str) -> dict[int, BatchOutcome]:
        """The outcomes of the finished batches, by number."""
        with broker_errors():
            stored = self._redis.hgetall(_batches(job_id))
        return {int(batch): BatchOutcome.model_validate_json(text(outcome)) for batch, outcome in stored.items()}

    def trim(self, *, keep: int = 1000, keep_days: float = 30.0) -> int:
        """Remove finished jobs that are not among the newest `keep`, or older than `keep_days`. Returns how many."""
        oldest_kept_us = int((time.time() - keep_days * _DAY_S) * 1e6)
        with broker_errors():
            beyond = self._redis.zrevrange(keys.ALL_JOBS, keep, -1)
            aged = self._redis.zrangebyscore(keys.ALL_JOBS, "-inf", oldest_kept_us)
            candidates = sorted({text(one) for one in (*beyond, *aged)})
        removed = 0
        for job_id in candidates:
            with broker_errors():
                state = self._redis.hget(keys.job(job_id), "state")
                if state is not None and not JobState(text(state)).finished:
                    continue
                # No transaction: a Redis at its memory limit would refuse it, and this frees memory.
                with self._redis.pipeline(transaction=False) as pipe:
                    pipe.delete(*keys.parts(job_id))
                    pipe.zrem(keys.ALL_JOBS, job_id)
                    pipe.execute()
            removed += 1
        return removed

    def _run_script(self, source: str, script_keys: builtins.list[str], args: builtins.list[Any]) -> Any:
        with broker_errors():
            return operations.script(source, script_keys, args)(self._redis)

    def _run(self, operation: Operation[T]) -> T:
        try:
            call = next(operation)
            while True:
                with broker_errors():
                    reply = call(self._redis)
                call = operation.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result


class AsyncJobStore:
    """The same records for asyncio."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client

    async def create(
        self,
        kind: JobKind,
        params: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """See `operations.create`."""
        return await self._run(operations.create(kind, params, idempotency_key=idempotency_key, request_id=request_id))

    async def get(self, job_id: str) -> JobRecord:
        """The current record. Raises JobNotFound."""
        return (await self._run(operations.read(job_id)))[0]

    async def list(
        self, *, limit: int = 50, kind: JobKind | None = None, state: JobState | None = None
    ) -> builtins.list[JobRecord]:
        """Up to `limit` jobs, newest first, without the lists of faults."""
        return await self._run(operations.newest(limit=limit, kind=kind, state=state))

    async def request_cancel(self, job_id: str) -> JobRecord:
        """See `operations.request_cancel`."""
        return await self._run(operations.request_cancel(job_id))

    async def delete(self, job_id: str) -> None:
        """Remove a job that has ended. Raises JobUnfinished, JobNotFound."""
        await self._run(operations.delete(job_id))

    async def _run(self, operation: Operation[T]) -> T:
        try:
            call: Call = next(operation)
            while True:
                with broker_errors():
                    reply = await call(self._redis)
                call = operation.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result


def _batches(job_id: str) -> str:
    return keys.part(keys.check_job_id(job_id), "batches")
