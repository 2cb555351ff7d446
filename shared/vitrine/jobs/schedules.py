"""Scheduled indexings, the last indexing of each dataset, and what an indexing changed: kept in Redis beside the jobs.

A dataset has at most one schedule for each model. The search API sets, lists and removes schedules; the indexer starts
their jobs. Every call raises BrokerUnavailable if Redis cannot answer.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, Self

import redis
import redis.asyncio
from pydantic import BaseModel, ConfigDict, Field

from vitrine.errors import ParameterInvalid
from vitrine.jobs import keys
from vitrine.jobs.operations import text
from vitrine.jobs.record import JobError, JobRecord, JobState, now
from vitrine.jobs.redis import broker_errors

Change = Literal["added", "changed", "removed"]
CHANGES: Final[tuple[Change, ...]] = ("added", "changed", "removed")

_SCHEDULES: Final = f"{keys.PREFIX}schedules"
_LAST: Final = f"{keys.PREFIX}last-indexings"
_UNIT_S: Final = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_EVERY: Final = re.compile(r"\s*(\d{1,7})\s*(min|[smhdw])\s*")
MIN_EVERY_S: Final = 60
_MAX_EVERY_S: Final = 366 * 86_400
_KEPT_S: Final = 30 * 86_400
_COUNTS: Final = ("indexed", "added", "changed", "removed", "rejected", "would_remove", "seconds")
# Replaces the schedule only if it is still the one that was read.
_REPLACE: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


def parse_every(every: str) -> int:
    """The seconds of an interval such as `30min`, `6h`, `1d` or `2w`. Raises ParameterInvalid."""
    found = _EVERY.fullmatch(every.lower())
    seconds = int(found[1]) * _UNIT_S[found[2]] if found else 0
    if not MIN_EVERY_S <= seconds <= _MAX_EVERY_S:
        raise ParameterInvalid(
            f"the interval {every[:40]!r} is not valid: write a number and min, h, d or w, such as 30min, 6h or 1d; "
            "at least 1min and at most 366d"
        )
    return seconds


def format_every(seconds: int) -> str:
    """The interval as `parse_every` takes it, in the largest unit that is exact."""
    unit = next(name for name in ("w", "d", "h", "min", "s") if seconds % _UNIT_S[name] == 0)
    return f"{seconds // _UNIT_S[unit]}{unit}"


class Schedule(BaseModel):
    """Indexes a catalogue with a model every `every_s` seconds. `params` are those of the index jobs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dataset: str
    model: str
    every_s: int = Field(ge=1)
    params: dict[str, Any]
    created_at: str
    next_at: str
    last_job: str | None = None

    @classmethod
    def of(cls, params: Mapping[str, Any], *, every_s: int, begins_at: str | None = None) -> Self:
        """A schedule for index jobs with these parameters, first due after one interval, or at `begins_at`."""
        return cls(
            dataset=str(params["dataset"]),
            model=str(params["model"]),
            every_s=every_s,
            params={name: value for name, value in params.items() if name != "every"},
            created_at=now(),
            next_at=begins_at or now(offset_s=every_s),
        )

    @property
    def field(self) -> str:
        return _field(self.dataset, self.model)

    def is_due(self, moment: datetime) -> bool:
        return datetime.fromisoformat(self.next_at) <= moment

    def delayed(self, moment: datetime, *, seconds: float, last_job: str | None = None) -> Self:
        """Due again `seconds` after `moment`."""
        next_at = (moment + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        return self.model_copy(update={"next_at": next_at, "last_job": last_job or self.last_job})

    def answer(self) -> dict[str, Any]:
        """The schedule as the API shows it."""
        return {
            "model": self.model,
            "every": format_every(self.every_s),
            "root": str(self.params.get("root", "")),
            "allowRemoval": bool(self.params.get("allow_removal")),
            "full": bool(self.params.get("full")),
            "nextAt": self.next_at,
            "lastJob": self.last_job,
        }


class LastIndexing(BaseModel):
    """How the last indexing of a dataset and model ended. `counts` are members of its result."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job: str
    model: str
    state: JobState
    started_at: str | None
    finished_at: str | None
    scheduled: bool = False
    counts: dict[str, float] = Field(default_factory=dict)
    error: JobError | None = None

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        result = record.result or {}
        return cls(
            job=record.id,
            model=str(record.params.get("model", "")),
            state=record.state,
            started_at=record.started_at,
            finished_at=record.finished_at,
            scheduled=bool(record.params.get("scheduled")),
            counts={name: result[name] for name in _COUNTS if name in result}
            | {"up_to_date": record.progress.skipped, "faults": sum(record.fault_counts.values())},
            error=record.error,
        )


class ScheduleStore:
    """Sync, for the indexer."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def all(self) -> list[Schedule]:
        with broker_errors():
            return _schedules(self._redis.hgetall(_SCHEDULES))

    def save(self, schedule: Schedule) -> None:
        with broker_errors():
            self._redis.hset(_SCHEDULES, schedule.field, schedule.model_dump_json())

    def replace(self, before: Schedule, after: Schedule) -> bool:
        """Replace a schedule. Returns whether it was still the same: it may have been removed or changed meanwhile."""
        with broker_errors():
            replaced = self._redis.eval(
                _REPLACE, 1, _SCHEDULES, before.field, before.model_dump_json(), after.model_dump_json()
            )
        return bool(replaced)

    def note_ended(self, record: JobRecord) -> None:
        """Remember how an index job has ended."""
        field = _field(str(record.params.get("dataset")), str(record.params.get("model")))
        with broker_errors():
            self._redis.hset(_LAST, field, LastIndexing.of(record).model_dump_json())

    def write_changes(self, job_id: str, changes: Mapping[Change, Iterable[str]]) -> None:
        """Store the ids of the products that a job adds, changes and removes, for thirty days."""
        key = keys.part(job_id, "changes")
        packed: dict[Any, Any] = {kind: zlib.compress("\n".join(ids).encode()) for kind, ids in changes.items()}
        with broker_errors():
            self._redis.delete(key)
            self._redis.hset(key, mapping=packed)
            self._redis.expire(key, _KEPT_S)


class AsyncScheduleStore:
    """For the search API."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client

    async def of_dataset(self, dataset: str) -> list[Schedule]:
        with broker_errors():
            found = _schedules(await self._redis.hgetall(_SCHEDULES))
        return [one for one in found if one.dataset == dataset]

    async def last_indexings(self, dataset: str) -> list[LastIndexing]:
        """The last indexing with each model, the latest first."""
        with broker_errors():
            stored = await self._redis.hgetall(_LAST)
        found = [
            LastIndexing.model_validate_json(value)
            for name, value in stored.items()
            if text(name).startswith(f"{dataset}/")
        ]
        return sorted(found, key=lambda one: one.finished_at or "", reverse=True)

    async def save(self, schedule: Schedule) -> None:
        with broker_errors():
            await self._redis.hset(_SCHEDULES, schedule.field, schedule.model_dump_json())

    async def remove(self, dataset: str, model: str) -> bool:
        """Remove a schedule. Returns whether there was one."""
        with broker_errors():
            return bool(await self._redis.hdel(_SCHEDULES, _field(dataset, model)))

    async def forget(self, dataset: str) -> None:
        """Remove the schedules of a dataset and the record of its last indexings."""
        for key in (_SCHEDULES, _LAST):
            with broker_errors():
                names = [name for name in await self._redis.hkeys(key) if text(name).startswith(f"{dataset}/")]
                if names:
                    await self._redis.hdel(key, *names)

    async def changes(self, job_id: str, kind: Change) -> list[str] | None:
        """The ids that `write_changes` stored; None if the job has stored none."""
        with broker_errors():
            packed: Any = await self._redis.hget(keys.part(keys.check_job_id(job_id), "changes"), kind)
        if packed is None:
            return None
        return zlib.decompress(packed).decode().splitlines()


def utc_now() -> datetime:
    return datetime.now(UTC)


def _schedules(stored: Mapping[Any, Any]) -> list[Schedule]:
    return sorted(
        (Schedule.model_validate_json(value) for value in stored.values()), key=lambda one: (one.dataset, one.model)
    )


def _field(dataset: str, model: str) -> str:
    # Neither name can contain a slash.
    return f"{dataset}/{model}"
