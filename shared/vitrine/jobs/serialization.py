"""Between a record and what Redis keeps of it. Shared by the sync and the async store; pure functions of replies.

The JSON of a record leaves out what is counted elsewhere (done, failed and skipped items, faults, version), so that a
batch can be counted without a race for the record.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from vitrine.errors import JobFinished, JobNotFound, JobUnfinished, RecordChanged, TooManyJobs
from vitrine.jobs import keys
from vitrine.jobs.record import (
    MAX_FAULTS_OF_A_KIND,
    BatchOutcome,
    JobFault,
    JobKind,
    JobRecord,
    JobState,
    check_params,
    count_kinds,
    created_us,
    now,
)

IDEMPOTENCY_TTL_S: Final = 24 * 3600
CAS_ATTEMPTS: Final = 50
MAX_UNFINISHED: Final = 1000
_FULL_RETRY_AFTER_S: Final = 30.0
_COUNTED_ELSEWHERE: Final[dict[str, Any]] = {
    "progress": {"done", "failed", "skipped"},
    "faults": True,
    "fault_counts": True,
    "version": True,
}


def text(value: Any) -> str:
    """A reply as text, whether the client decodes replies or not."""
    return value.decode() if isinstance(value, bytes) else str(value)


def new_record(job_id: str, kind: JobKind, params: Mapping[str, Any], request_id: str | None) -> JobRecord:
    checked = dict(check_params(params))
    return JobRecord(id=job_id, kind=kind, params=checked, created_at=now(), request_id=request_id, version=1)


def dump(record: JobRecord) -> str:
    return record.model_dump_json(exclude=_COUNTED_ELSEWHERE)


def compose(
    job_id: str, fields: Mapping[Any, Any], faults: Sequence[Any], fault_counts: Mapping[Any, Any]
) -> tuple[JobRecord, str]:
    """The record and its revision, for compare-and-set. Raises JobNotFound for an empty reply and a damaged record."""
    if not fields:
        raise JobNotFound(f"there is no job {job_id!r}")
    try:
        return _compose(fields, faults, fault_counts)
    except (ValueError, KeyError) as error:  # a disk that lost a block, for instance: the other jobs are readable
        raise JobNotFound(f"the record of the job {job_id!r} is damaged and cannot be read") from error


def _compose(
    fields: Mapping[Any, Any], faults: Sequence[Any], fault_counts: Mapping[Any, Any]
) -> tuple[JobRecord, str]:
    known = {text(name): value for name, value in fields.items()}
    record = JobRecord.model_validate_json(text(known["record"]))
    progress = record.progress.model_copy(
        update={name: int(known.get(name, 0)) for name in ("done", "failed", "skipped")}
    )
    counted = {text(kind): int(count) for kind, count in fault_counts.items()}
    record = record.model_copy(
        update={
            "progress": progress,
            "faults": tuple(JobFault.model_validate_json(text(fault)) for fault in faults),
            "fault_counts": dict(sorted(counted.items())),
            "version": int(known["version"]),
        }
    )
    return record, text(known["revision"])


def read_keys(job_id: str) -> list[str]:
    """The keys that scripts.READ reads."""
    return [keys.job(job_id), keys.part(job_id, "faults"), keys.part(job_id, "fault_counts")]


def from_read(job_id: str, reply: Sequence[Any]) -> tuple[JobRecord, str]:
    """The record and its revision from the reply of scripts.READ. Raises JobNotFound."""
    fields, faults, fault_counts = reply
    return compose(job_id, _pairs(fields), faults, _pairs(fault_counts))


def create_args(record: JobRecord, idempotency_key: str | None) -> tuple[list[str], list[Any]]:
    once = keys.once(record.kind, idempotency_key) if idempotency_key is not None else keys.once(record.kind, record.id)
    ttl_s = IDEMPOTENCY_TTL_S if idempotency_key is not None else 0
    return (
        [keys.job(record.id), keys.ALL_JOBS, keys.UNFINISHED, once],
        [record.id, dump(record), created_us(record.id), ttl_s, keys.JOB_PREFIX, MAX_UNFINISHED],
    )


def created(reply: Any) -> str:
    """The id of the job that CREATE made or found. Raises TooManyJobs."""
    made = text(reply)
    if not made:
        raise TooManyJobs(
            f"{MAX_UNFINISHED} jobs have not ended yet: wait, or cancel some of them", retry_after_s=_FULL_RETRY_AFTER_S
        )
    return made


def delete_args(job_id: str) -> tuple[list[str], list[Any]]:
    return [keys.ALL_JOBS, keys.UNFINISHED, *keys.parts(job_id)], [job_id]


def check_deleted(reply: Any, job_id: str) -> None:
    """Raise JobNotFound or JobUnfinished where DELETE removed nothing."""
    if int(reply) < 0:
        raise JobNotFound(f"there is no job {job_id!r}")
    if int(reply) == 0:
        raise JobUnfinished(f"the job {job_id} has not ended: cancel it first")


def replace_args(record: JobRecord, revision: str) -> tuple[list[str], list[Any]]:
    finished = "1" if record.state.finished else "0"
    return (
        [keys.job(record.id), keys.UNFINISHED],
        [revision, dump(record), record.state.value, finished, record.id, keys.events(record.id)],
    )


def finish_batch_args(job_id: str, batch: int, outcome: BatchOutcome) -> tuple[list[str], list[Any]]:
    return (
        [keys.job(job_id), *(keys.part(job_id, name) for name in ("batches", "faults", "fault_counts"))],
        [
            batch, outcome.model_dump_json(), outcome.done, outcome.failed, outcome.skipped,
            _fault_list(outcome.faults), _kinds(outcome.faults), MAX_FAULTS_OF_A_KIND, keys.events(job_id),
        ],
    )  # fmt: skip


def note_faults_args(job_id: str, source: str, faults: Iterable[JobFault]) -> tuple[list[str], list[Any]]:
    listed = tuple(faults)
    return (
        [keys.job(job_id), *(keys.part(job_id, name) for name in ("sources", "faults", "fault_counts"))],
        [source, _fault_list(listed), _kinds(listed), MAX_FAULTS_OF_A_KIND, keys.events(job_id)],
    )


def replaced(reply: int, record: JobRecord) -> JobRecord | None:
    """What REPLACE answered: the record at its new version, or None where another writer was first."""
    if reply == -1:
        raise JobNotFound(f"there is no job {record.id!r}")
    return None if reply == 0 else record.model_copy(update={"version": reply})


def still_changing(job_id: str) -> RecordChanged:
    return RecordChanged(f"the job {job_id} is being changed by others; try again")


def cancel(record: JobRecord) -> JobRecord:
    """The change a request to cancel makes. A queued job has nobody to wait for and is cancelled at once."""
    if record.state is JobState.QUEUED:
        return record.cancelled()
    if record.state.finished:
        raise JobFinished(f"the job {record.id} has {record.state.value} already")
    return record.model_copy(update={"cancel_requested": True})


def _pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _fault_list(faults: Sequence[JobFault]) -> str:
    # More of a kind than the limit can never be kept, so more is not sent.
    seen: Counter[str] = Counter()
    listed = []
    for fault in faults:
        seen[fault.kind] += 1
        if seen[fault.kind] <= MAX_FAULTS_OF_A_KIND:
            listed.append(fault.model_dump_json())
    return json.dumps(listed)


def _kinds(faults: tuple[JobFault, ...]) -> str:
    return json.dumps(count_kinds(faults))
