"""What the job stores do, without the I/O. One implementation serves the sync and the async store.

An operation is a generator: it yields calls on a Redis client, receives their replies and returns the result. A store
runs it with `JobStore.run` or `AsyncJobStore.run`, which await the replies or not. Every change is one script or one
compare-and-set, so no race loses or repeats a change.

The JSON of a record has no counts of items and faults, and no version: those are fields of their own, so that counting
a batch does not conflict with a change of the record.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from vitrine.errors import JobNotFound, JobUnfinished, ParameterInvalid, RecordChanged, TooManyJobs
from vitrine.jobs import keys, scripts
from vitrine.jobs.record import (
    MAX_FAULTS_OF_A_KIND,
    JobFault,
    JobKind,
    JobRecord,
    JobState,
    check_change,
    json_bytes,
    now,
)
from vitrine.telemetry import get_logger

MAX_PARAMS_BYTES: Final = 128 * 1024
IDEMPOTENCY_TTL_S: Final = 24 * 3600
MAX_UNFINISHED: Final = 1000
_FULL_RETRY_AFTER_S: Final = 30.0
_CAS_ATTEMPTS: Final = 50
_PAGE: Final = 100
_COUNTED_ELSEWHERE: Final[dict[str, Any]] = {
    "progress": {"done", "failed", "skipped"},
    "faults": True,
    "fault_counts": True,
    "version": True,
}

T = TypeVar("T")
# A call on a client, `redis.Redis` or `redis.asyncio.Redis`. The latter returns an awaitable.
Call = Callable[[Any], Any]
Operation = Generator[Call, Any, T]
Change = Callable[[JobRecord], JobRecord]


def create(
    kind: JobKind, params: Mapping[str, Any], *, idempotency_key: str | None, request_id: str | None
) -> Operation[tuple[JobRecord, bool]]:
    """Create a queued job. Returns (record, True), or the job that the same key created within a day and False.

    Raises TooManyJobs, and ParameterInvalid if the parameters are larger than MAX_PARAMS_BYTES.
    """
    record = new_record(keys.new_job_id(), kind, params, request_id)
    once = keys.once(kind, record.id if idempotency_key is None else idempotency_key)
    reply = yield script(
        scripts.CREATE,
        [keys.job(record.id), keys.ALL_JOBS, keys.UNFINISHED, once],
        [
            record.id,
            dump(record),
            keys.created_us(record.id),
            0 if idempotency_key is None else IDEMPOTENCY_TTL_S,
            keys.JOB_PREFIX,
            MAX_UNFINISHED,
        ],
    )
    created = text(reply)
    if not created:
        raise TooManyJobs(
            f"{MAX_UNFINISHED} jobs have not ended yet: wait, or cancel some of them", retry_after_s=_FULL_RETRY_AFTER_S
        )
    if created == record.id:
        return record, True
    return (yield from read(created))[0], False


def read(job_id: str) -> Operation[tuple[JobRecord, str]]:
    """The record, and its revision for a compare-and-set. Raises JobNotFound."""
    keys.check_job_id(job_id)
    parts = [keys.job(job_id), keys.part(job_id, "faults"), keys.part(job_id, "fault_counts")]
    fields, faults, fault_counts = yield script(scripts.READ, parts, [])
    return _record_of(job_id, _pairs(fields), faults, _pairs(fault_counts))


def read_many(job_ids: Sequence[str]) -> Operation[list[JobRecord]]:
    """The records that exist and can be read, in order, without the lists of faults."""

    def fetch(client: Any) -> Any:
        # No transaction: a Redis at its memory limit refuses MULTI.
        pipeline = client.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hgetall(keys.job(job_id))
            pipeline.hgetall(keys.part(job_id, "fault_counts"))
        return pipeline.execute()

    replies = yield fetch
    records = []
    for job_id, fields, fault_counts in zip(job_ids, replies[::2], replies[1::2], strict=True):
        if not fields:  # removed since its id was read
            continue
        try:
            records.append(_record_of(job_id, fields, (), fault_counts)[0])
        except JobNotFound as error:  # damaged, or of another version: the others can still be read
            get_logger("jobs").warning("job_unreadable", job_id=job_id, error=type(error.__cause__).__name__)
    return records


def newest(*, limit: int, kind: JobKind | None, state: JobState | None) -> Operation[list[JobRecord]]:
    """Up to `limit` jobs, newest first, without the lists of faults."""
    found: list[JobRecord] = []
    start = 0
    while len(found) < limit:
        page = yield _page(start)
        records = yield from read_many([text(job_id) for job_id in page])
        found += [
            record
            for record in records
            if (kind is None or record.kind is kind) and (state is None or record.state is state)
        ]
        start += _PAGE
        if len(page) < _PAGE:
            break
    return found[:limit]


def update(job_id: str, change: Change) -> Operation[JobRecord]:
    """Replace the record by `change(record)`, and try again if another writer was first.

    A `change` that returns its argument writes nothing. Counts of items and faults cannot be changed this way. Raises
    JobNotFound, JobFinished, Conflict if the states do not allow it, RecordChanged if the record keeps changing, and
    the errors of `change`.
    """
    for _ in range(_CAS_ATTEMPTS):
        before, revision = yield from read(job_id)
        after = change(before)
        if after is before:
            return before
        check_change(before, after)
        finished = "1" if after.state.finished else "0"
        reply = yield script(
            scripts.REPLACE,
            [keys.job(job_id), keys.UNFINISHED],
            [revision, dump(after), after.state.value, finished, job_id, keys.events(job_id)],
        )
        version = int(reply)
        if version == -1:
            raise JobNotFound(f"there is no job {job_id!r}")
        if version:
            return after.model_copy(update={"version": version})
    raise RecordChanged(f"the job {job_id} is being changed by others; try again")


def request_cancel(job_id: str) -> Operation[JobRecord]:
    """Cancel a queued job at once, and a running one at its next step. Raises JobFinished, JobNotFound."""
    return update(job_id, JobRecord.with_cancel_request)


def delete(job_id: str) -> Operation[None]:
    """Remove a job that has ended. Raises JobUnfinished, JobNotFound."""
    keys.check_job_id(job_id)
    reply = yield script(scripts.DELETE, [keys.ALL_JOBS, keys.UNFINISHED, *keys.parts(job_id)], [job_id])
    if int(reply) < 0:
        raise JobNotFound(f"there is no job {job_id!r}")
    if int(reply) == 0:
        raise JobUnfinished(f"the job {job_id} has not ended: cancel it first")


def script(source: str, script_keys: Sequence[str], args: Sequence[Any]) -> Call:
    """A call of a Lua script. Its text is sent only if the server does not know it yet."""
    return lambda client: client.register_script(source)(keys=script_keys, args=args)


def new_record(job_id: str, kind: JobKind, params: Mapping[str, Any], request_id: str | None) -> JobRecord:
    """A queued job. Raises ParameterInvalid if the parameters are larger than MAX_PARAMS_BYTES."""
    size_bytes = json_bytes(params)
    if size_bytes > MAX_PARAMS_BYTES:
        raise ParameterInvalid(f"the job's parameters take {size_bytes} bytes, of at most {MAX_PARAMS_BYTES}")
    return JobRecord(id=job_id, kind=kind, params=dict(params), created_at=now(), request_id=request_id, version=1)


def dump(record: JobRecord) -> str:
    """The JSON of a record, without what is counted elsewhere."""
    return record.model_dump_json(exclude=_COUNTED_ELSEWHERE)


def dump_faults(faults: Iterable[JobFault]) -> tuple[str, str]:
    """(JSON list of each fault's JSON, JSON object of counts by kind), as the scripts take them.

    The list has at most MAX_FAULTS_OF_A_KIND of each kind, because no more are stored.
    """
    counts: Counter[str] = Counter()
    listed = []
    for fault in faults:
        counts[fault.kind] += 1
        if counts[fault.kind] <= MAX_FAULTS_OF_A_KIND:
            listed.append(fault.model_dump_json())
    return json.dumps(listed), json.dumps(counts)


def text(value: Any) -> str:
    """A reply as text, whether the client decodes replies or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _page(start: int) -> Call:
    return lambda client: client.zrevrange(keys.ALL_JOBS, start, start + _PAGE - 1)


def _record_of(
    job_id: str, fields: Mapping[Any, Any], faults: Sequence[Any], fault_counts: Mapping[Any, Any]
) -> tuple[JobRecord, str]:
    """The record and its revision. Raises JobNotFound for an empty reply and a damaged record."""
    if not fields:
        raise JobNotFound(f"there is no job {job_id!r}")
    try:
        known = {text(name): value for name, value in fields.items()}
        record = JobRecord.model_validate_json(text(known["record"]))
        counts = {text(kind): int(count) for kind, count in fault_counts.items()}
        items = {name: int(known.get(name, 0)) for name in ("done", "failed", "skipped")}
        changes = {
            "progress": record.progress.model_copy(update=items),
            "faults": tuple(JobFault.model_validate_json(text(fault)) for fault in faults),
            "fault_counts": dict(sorted(counts.items())),
            "version": int(known["version"]),
        }
        return record.model_copy(update=changes), text(known["revision"])
    except (ValueError, KeyError) as error:  # a disk that lost a block, for instance
        raise JobNotFound(f"the record of the job {job_id!r} is damaged and cannot be read") from error


def _pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
