"""Job records in Redis, for workers. Every change is one script or a compare-and-set, so nothing is lost to a race and
nothing counts twice; see the package for the list of calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio

from vitrine.errors import JobNotFound
from vitrine.jobs import keys, scripts, serialization
from vitrine.jobs.record import (
    BatchOutcome,
    JobFault,
    JobKind,
    JobRecord,
    JobState,
    check_change,
    check_job_id,
    new_job_id,
)
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

_PAGE: Final = 100
# The method named `list` hides the type of that name.
Records = list[JobRecord]
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class BatchMark:
    """What `finish_batch` did: whether it counted, whether the job still runs, and how many batches are done now."""

    counted: bool
    running: bool
    finished_batches: int


class JobStore:
    """Every call may raise BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._read_one = client.register_script(scripts.READ)
        self._create = client.register_script(scripts.CREATE)
        self._replace = client.register_script(scripts.REPLACE)
        self._finish_batch = client.register_script(scripts.FINISH_BATCH)
        self._note_faults = client.register_script(scripts.NOTE_FAULTS)

    def create(
        self,
        kind: JobKind,
        params: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """A new queued job and True, or the job an equal key made within the last day and False.

        Publish its message afterwards; the sweeper publishes where that is lost.
        """
        record = serialization.new_record(new_job_id(), kind, params, request_id)
        script_keys, args = serialization.create_args(record, idempotency_key)
        with broker_errors():
            made = serialization.created(self._create(keys=script_keys, args=args))
        return (record, True) if made == record.id else (self.get(made), False)

    def get(self, job_id: str) -> JobRecord:
        """The job as it is now. Raises JobNotFound."""
        return self._read(job_id)[0]

    def list(self, *, limit: int = 50, kind: JobKind | None = None, state: JobState | None = None) -> Records:
        """The newest `limit` jobs, newest first, with counts of faults but without their list."""
        found: Records = []
        start = 0
        while len(found) < limit:
            with broker_errors():
                ids = [
                    serialization.text(one) for one in self._redis.zrevrange(keys.ALL_JOBS, start, start + _PAGE - 1)
                ]
            found += [
                record
                for record in self._read_many(ids)
                if (kind is None or record.kind is kind) and (state is None or record.state is state)
            ]
            start += _PAGE
            if len(ids) < _PAGE:
                break
        return found[:limit]

    def unfinished(self, kinds: Collection[JobKind]) -> Records:
        """Every queued or running job of these kinds, oldest first."""
        with broker_errors():
            ids = [serialization.text(one) for one in self._redis.zrange(keys.UNFINISHED, 0, -1)]
            with self._redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.exists(keys.job(job_id))
                gone = [job_id for job_id, there in zip(ids, pipe.execute(), strict=True) if not there]
            if gone:  # removed by hand, or with a part of Redis: nothing else takes them from the list
                self._redis.zrem(keys.UNFINISHED, *gone)
        return [record for record in self._read_many(ids) if record.kind in kinds and not record.state.finished]

    def update(self, job_id: str, change: Callable[[JobRecord], JobRecord]) -> JobRecord:
        """Replace the record by `change(record)`, anew where another writer was first.

        Counts of items and faults are not changed this way. A `change` that returns its argument writes nothing.
        Raises JobNotFound, JobFinished, Conflict (the states do not allow it), RecordChanged (hopeless contention),
        and whatever `change` raises.
        """
        for _ in range(serialization.CAS_ATTEMPTS):
            before, revision = self._read(job_id)
            after = change(before)
            if after is before:
                return before
            check_change(before, after)
            script_keys, args = serialization.replace_args(after, revision)
            with broker_errors():
                reply = int(self._replace(keys=script_keys, args=args))
            replaced = serialization.replaced(reply, after)
            if replaced is not None:
                return replaced
        raise serialization.still_changing(job_id)

    def request_cancel(self, job_id: str) -> JobRecord:
        """Cancel a queued job at once and a running one at its next step. Raises JobFinished, JobNotFound."""
        return self.update(job_id, serialization.cancel)

    def finish_batch(self, job_id: str, batch: int, outcome: BatchOutcome) -> BatchMark:
        """Count a batch as finished. The first outcome stands; a job that does not run counts nothing."""
        script_keys, args = serialization.finish_batch_args(check_job_id(job_id), batch, outcome)
        with broker_errors():
            mark, finished = (int(value) for value in self._finish_batch(keys=script_keys, args=args))
        return BatchMark(counted=mark == 1, running=mark >= 0, finished_batches=finished)

    def note_faults(self, job_id: str, source: str, faults: Iterable[JobFault]) -> bool:
        """Count faults that belong to no batch, such as those of a catalogue's rows: once for each `source`."""
        script_keys, args = serialization.note_faults_args(check_job_id(job_id), source, faults)
        with broker_errors():
            return int(self._note_faults(keys=script_keys, args=args)) == 1

    def batch_finished(self, job_id: str, batch: int) -> bool:
        """Whether this batch is done."""
        with broker_errors():
            return bool(self._redis.hexists(keys.part(check_job_id(job_id), "batches"), str(batch)))

    def finished_batches(self, job_id: str) -> frozenset[int]:
        """The numbers of the batches that are done."""
        with broker_errors():
            return frozenset(int(field) for field in self._redis.hkeys(keys.part(check_job_id(job_id), "batches")))

    def outcomes(self, job_id: str) -> dict[int, BatchOutcome]:
        """How each finished batch ended."""
        with broker_errors():
            stored = self._redis.hgetall(keys.part(check_job_id(job_id), "batches"))
        return {
            int(batch): BatchOutcome.model_validate_json(serialization.text(outcome))
            for batch, outcome in stored.items()
        }

    def trim(self, *, keep: int = 1000, keep_days: float = 30.0) -> int:
        """Remove finished jobs beyond the newest `keep` and those older than `keep_days`. Returns how many."""
        oldest_kept_us = int((time.time() - keep_days * _DAY_S) * 1e6)
        with broker_errors():
            beyond = self._redis.zrevrange(keys.ALL_JOBS, keep, -1)
            aged = self._redis.zrangebyscore(keys.ALL_JOBS, "-inf", oldest_kept_us)
            candidates = sorted({serialization.text(one) for one in (*beyond, *aged)})
        removed = 0
        for job_id in candidates:
            with broker_errors():
                state = self._redis.hget(keys.job(job_id), "state")
                if state is not None and not JobState(serialization.text(state)).finished:
                    continue
                # No transaction: a Redis at its memory limit would refuse it, and this makes room.
                with self._redis.pipeline(transaction=False) as pipe:
                    pipe.delete(*keys.parts(job_id))
                    pipe.zrem(keys.ALL_JOBS, job_id)
                    pipe.execute()
            removed += 1
        return removed

    def watch(self, job_id: str, *, poll_s: float = 0.5) -> Iterator[JobRecord]:
        """Each version of the job that is seen, the present one first; ends with the finished one."""
        record = self.get(job_id)
        yield record
        with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:  # type: ignore[no-untyped-call]
            with broker_errors():
                subscription.subscribe(keys.events(job_id))
            while not record.state.finished:
                latest = self.get(job_id)
                if latest.version != record.version:
                    record = latest
                    yield record
                    continue
                with broker_errors():
                    subscription.get_message(timeout=poll_s)

    def _read(self, job_id: str) -> tuple[JobRecord, str]:
        check_job_id(job_id)
        with broker_errors():
            reply = self._read_one(keys=serialization.read_keys(job_id))
        return serialization.from_read(job_id, reply)

    def _read_many(self, job_ids: Iterable[str]) -> Records:
        listed = [*job_ids]
        with broker_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in listed:
                pipe.hgetall(keys.job(job_id))
                pipe.hgetall(keys.part(job_id, "fault_counts"))
            replies = pipe.execute()
        records: Records = []
        for position, job_id in enumerate(listed):
            try:
                record, _ = serialization.compose(job_id, replies[2 * position], (), replies[2 * position + 1])
            except JobNotFound:  # removed since its id was read
                continue
            except ValueError as error:  # of another version, or damaged: it must not hide the others
                get_logger("jobs").warning("job_unreadable", job_id=job_id, error=type(error).__name__)
                continue
            records.append(record)
        return records


class AsyncJobStore:
    """Every call may raise BrokerUnavailable."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._read_one = client.register_script(scripts.READ)
        self._create = client.register_script(scripts.CREATE)
        self._replace = client.register_script(scripts.REPLACE)
        self._delete = client.register_script(scripts.DELETE)

    async def create(
        self,
        kind: JobKind,
        params: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """A new queued job and True, or the job an equal key made within the last day and False."""
        record = serialization.new_record(new_job_id(), kind, params, request_id)
        script_keys, args = serialization.create_args(record, idempotency_key)
        with broker_errors():
            made = serialization.created(await self._create(keys=script_keys, args=args))
        return (record, True) if made == record.id else (await self.get(made), False)

    async def get(self, job_id: str) -> JobRecord:
        """The job as it is now. Raises JobNotFound."""
        return (await self._read(job_id))[0]

    async def list(self, *, limit: int = 50, kind: JobKind | None = None, state: JobState | None = None) -> Records:
        """The newest `limit` jobs, newest first, with counts of faults but without their list."""
        found: Records = []
        start = 0
        while len(found) < limit:
            with broker_errors():
                ids = [
                    serialization.text(one)
                    for one in await self._redis.zrevrange(keys.ALL_JOBS, start, start + _PAGE - 1)
                ]
            found += [
                record
                for record in await self._read_many(ids)
                if (kind is None or record.kind is kind) and (state is None or record.state is state)
            ]
            start += _PAGE
            if len(ids) < _PAGE:
                break
        return found[:limit]

    async def request_cancel(self, job_id: str) -> JobRecord:
        """Cancel a queued job at once and a running one at its next step. Raises JobFinished, JobNotFound."""
        for _ in range(serialization.CAS_ATTEMPTS):
            before, revision = await self._read(job_id)
            after = serialization.cancel(before)
            check_change(before, after)
            script_keys, args = serialization.replace_args(after, revision)
            with broker_errors():
                reply = int(await self._replace(keys=script_keys, args=args))
            replaced = serialization.replaced(reply, after)
            if replaced is not None:
                return replaced
        raise serialization.still_changing(job_id)

    async def delete(self, job_id: str) -> None:
        """Remove the record of a job that has ended. Raises JobUnfinished, JobNotFound."""
        script_keys, args = serialization.delete_args(check_job_id(job_id))
        with broker_errors():
            reply = await self._delete(keys=script_keys, args=args)
        serialization.check_deleted(reply, job_id)

    async def _read(self, job_id: str) -> tuple[JobRecord, str]:
        check_job_id(job_id)
        with broker_errors():
            reply = await self._read_one(keys=serialization.read_keys(job_id))
        return serialization.from_read(job_id, reply)

    async def _read_many(self, job_ids: Iterable[str]) -> Records:
        listed = [*job_ids]
        with broker_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id in listed:
                    pipe.hgetall(keys.job(job_id))
                    pipe.hgetall(keys.part(job_id, "fault_counts"))
                replies = await pipe.execute()
        records: Records = []
        for position, job_id in enumerate(listed):
            try:
                record, _ = serialization.compose(job_id, replies[2 * position], (), replies[2 * position + 1])
            except JobNotFound:  # trimmed since its id was read
                continue
            records.append(record)
        return records
