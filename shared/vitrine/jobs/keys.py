"""Job ids, and the names of the keys that jobs use in Redis. Every key starts with `vitrine:`."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Final

from vitrine.errors import JobNotFound

PREFIX: Final = "vitrine:"
JOB_PREFIX: Final = f"{PREFIX}job:"
ALL_JOBS: Final = f"{PREFIX}jobs"
UNFINISHED: Final = f"{PREFIX}jobs:unfinished"
# Hash: how often each dependency (the embedder, Qdrant) has served a step.
WORKING: Final = f"{PREFIX}working"
_IDEMPOTENCY_PREFIX: Final = f"{PREFIX}jobs:once:"
# Keys that belong to a job beside its record. They are removed with it.
_PARTS: Final = ("batches", "faults", "fault_counts", "sources", "leases", "tokens", "deferred", "retries", "crashes",
                 "suspects", "plan", "changes")  # fmt: skip
_JOB_ID: Final = re.compile(r"[0-9a-f]{21}")


def new_job_id() -> str:
    """A new id: the time in microseconds, then 32 random bits. Ids sort by age."""
    return f"{time.time_ns() // 1000:013x}{secrets.token_hex(4)}"


def created_us(job_id: str) -> int:
    """When an id was made, in microseconds since 1970."""
    return int(job_id[:13], 16)


def check_job_id(job_id: str) -> str:
    """Return `job_id`. Raises JobNotFound if it is not a possible id, because ids become part of key names."""
    if _JOB_ID.fullmatch(job_id) is None:
        raise JobNotFound(f"there is no job {job_id[:40]!r}")
    return job_id


def job(job_id: str) -> str:
    """Hash: `record` (JSON), `state`, `revision`, `version`, `done`, `failed`, `skipped`."""
    return f"{JOB_PREFIX}{job_id}"


def part(job_id: str, name: str) -> str:
    """One of the keys that a job has beside its record."""
    assert name in _PARTS, name
    return f"{JOB_PREFIX}{job_id}:{name}"


def parts(job_id: str) -> list[str]:
    """Every key of a job, its record first."""
    return [job(job_id), *(part(job_id, name) for name in _PARTS)]


def lock(name: str) -> str:
    """Prefix of the keys of a lock that all jobs share."""
    return f"{PREFIX}turn:{name}"


def events(job_id: str) -> str:
    """The pub/sub channel that carries the job's version after each change."""
    return f"{JOB_PREFIX}{job_id}:events"


def once(kind: str, idempotency_key: str) -> str:
    """String: the id of the job that this idempotency key created. Hashed, because callers choose the key."""
    return _IDEMPOTENCY_PREFIX + hashlib.sha256(f"{kind}\x1f{idempotency_key}".encode()).hexdigest()
