"""The names of the keys that jobs use in Redis. Every one begins with `vitrine:`."""

from __future__ import annotations

import hashlib
from typing import Final

PREFIX: Final = "vitrine:"
JOB_PREFIX: Final = f"{PREFIX}job:"
ALL_JOBS: Final = f"{PREFIX}jobs"
UNFINISHED: Final = f"{PREFIX}jobs:unfinished"
# Hash: how often each part of the system (the embedder, Qdrant) has served a step.
WORKING: Final = f"{PREFIX}working"
_IDEMPOTENCY_PREFIX: Final = f"{PREFIX}jobs:once:"
# What a job owns beside its record; removed with it.
_PARTS: Final = ("batches", "faults", "fault_counts", "sources", "leases", "tokens", "deferred", "retries", "crashes",
                 "suspects", "plan")  # fmt: skip


def job(job_id: str) -> str:
    """Hash: `record` (JSON), `state`, `revision`, `version`, `done`, `failed`, `skipped`."""
    return f"{JOB_PREFIX}{job_id}"


def part(job_id: str, name: str) -> str:
    """One of the keys a job owns beside its record."""
    assert name in _PARTS, name
    return f"{JOB_PREFIX}{job_id}:{name}"


def parts(job_id: str) -> list[str]:
    """Every key of a job."""
    return [job(job_id), *(part(job_id, name) for name in _PARTS)]


def turn(name: str) -> str:
    """What the keys of a turn among all jobs begin with."""
    return f"{PREFIX}turn:{name}"


def events(job_id: str) -> str:
    """The pub/sub channel that carries the job's version at each change."""
    return f"{JOB_PREFIX}{job_id}:events"


def once(kind: str, idempotency_key: str) -> str:
    """String: the id of the job that this key made. Hashed, since callers write the key."""
    return _IDEMPOTENCY_PREFIX + hashlib.sha256(f"{kind}\x1f{idempotency_key}".encode()).hexdigest()
