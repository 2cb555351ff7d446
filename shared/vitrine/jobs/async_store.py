"""Job records for the search API: the calls of `JobStore` that it needs, awaited, on the same keys and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import redis.asyncio

from vitrine.errors import JobNotFound
from vitrine.jobs import keys, lua, wire
from vitrine.jobs.connect import broker_errors
from vitrine.jobs.record import JobKind, JobRecord, JobState, check_change, check_job_id, new_job_id

_PAGE: Final = 100
# The method named `list` hides the type of that name.
Records = list[JobRecord]


class AsyncJobStore:
    """Every call may raise BrokerUnavailable."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._read_one = client.register_script(lua.READ)
        self._create = client.register_script(lua.CREATE)
        self._replace = client.register_script(lua.REPLACE)
        self._delete = client.register_script(lua.DELETE)

    async def create(
        self,
        kind: JobKind,
        params: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        request_id: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """A new queued job and True, or the job an equal key made within the last day and False."""
        record = wire.new_record(new_job_id(), kind, params, request_id)
        script_keys, args = wire.create_args(record, idempotency_key)
        with broker_errors():
            made = wire.created(await self._create(keys=script_keys, args=args))
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
                ids = [wire.text(one) for one in await self._redis.zrevrange(keys.ALL_JOBS, start, start + _PAGE - 1)]
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
        for _ in range(wire.CAS_ATTEMPTS):
            before, revision = await self._read(job_id)
            after = wire.cancel(before)
            check_change(before, after)
            script_keys, args = wire.replace_args(after, revision)
            with broker_errors():
                reply = int(await self._replace(keys=script_keys, args=args))
            replaced = wire.replaced(reply, after)
            if replaced is not None:
                return replaced
        raise wire.still_changing(job_id)

    async def delete(self, job_id: str) -> None:
        """Remove the record of a job that has ended. Raises JobUnfinished, JobNotFound."""
        script_keys, args = wire.delete_args(check_job_id(job_id))
        with broker_errors():
            reply = await self._delete(keys=script_keys, args=args)
        wire.check_deleted(reply, job_id)

    async def _read(self, job_id: str) -> tuple[JobRecord, str]:
        check_job_id(job_id)
        with broker_errors():
            reply = await self._read_one(keys=wire.read_keys(job_id))
        return wire.from_read(job_id, reply)

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
                record, _ = wire.compose(job_id, replies[2 * position], (), replies[2 * position + 1])
            except JobNotFound:  # trimmed since its id was read
                continue
            records.append(record)
        return records
