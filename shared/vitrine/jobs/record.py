"""What a job is: its kind, its state and the changes a state allows, its counts and faults. Pure values, no Redis.

queued ──► running ──► succeeded
   │          ├──────► failed
   │          └──────► cancelled
   ├─────────────────► failed
   └─────────────────► cancelled
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import pydantic_core
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vitrine.errors import Conflict, JobFinished, JobNotFound, ParameterInvalid, VitrineError

# Of each kind, so that a thousand empty fields do not hide the one picture that is missing.
MAX_FAULTS_OF_A_KIND: Final = 200
MAX_NOTES: Final = 200
MAX_SERIES: Final = 16
MAX_SERIES_POINTS: Final = 200
MAX_PARAMS_BYTES: Final = 128 * 1024
MAX_RESULT_BYTES: Final = 128 * 1024
# Of what a catalogue, a library or a caller wrote; the rest of a longer text is cut off.
_NAME_CHARS: Final = 200
_TEXT_CHARS: Final = 2000
_JOB_ID = re.compile(r"[0-9a-f]{21}")


class JobKind(StrEnum):
    """What a job does."""

    INDEX = "index"
    PROJECT = "project"
    TRAIN = "train"
    ADAPT = "adapt"
    TUNE = "tune"
    EVALUATE = "evaluate"
    EXPERIMENT = "experiment"
    VISUALIZE = "visualize"
    UPSERT = "upsert"
    DELETE = "delete"


class JobState(StrEnum):
    """Where a job is. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in _FINISHED


_FINISHED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
_ALLOWED: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: _FINISHED,
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


def _cut(most: int) -> BeforeValidator:
    return BeforeValidator(lambda value: cut(value, most) if isinstance(value, str) else value)


_Name = Annotated[str, _cut(_NAME_CHARS)]
_Text = Annotated[str, _cut(_TEXT_CHARS)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class JobFault(_Value):
    """One thing that went wrong with one item, which cost at most that item."""

    product_id: _Name | None
    kind: _Name
    detail: _Text


class JobError(_Value):
    """Why a job as a whole failed: the stable code of an error of `vitrine.errors`, and its sentence."""

    code: _Name
    detail: _Text

    @classmethod
    def of(cls, error: VitrineError) -> JobError:
        return cls(code=error.code, detail=error.detail)


class StepFailure(_Value):
    """The last failure of a step that is tried again, or that ended its job: the error, and how often and since when it
    came in a row. `retry_at` is when the step is due again.
    """

    step: str
    code: _Name
    detail: _Text
    tries: int
    since: str
    at: str
    retry_at: str | None = None


class Progress(_Value):
    """Items, counted. `skipped` were up to date already; `total` is None until it is known.

    `course` is how far a training is, in pictures of all epochs: no count of items, and a run that is taken up anew may
    set it back.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int | None = None
    course: int | None = None


class BatchOutcome(_Value):
    """How one batch ended. `faults` names every failed item, so `failed == len(faults)`."""

    done: int = 0
    skipped: int = 0
    faults: tuple[JobFault, ...] = ()

    @property
    def failed(self) -> int:
        return len(self.faults)

    def failed_ids(self) -> frozenset[str]:
        return frozenset(fault.product_id for fault in self.faults if fault.product_id is not None)


class JobNote(_Value):
    """A line of a job's story."""

    at: str
    text: _Text


class Series(_Value):
    """A measure as it goes: points (x, y) in the order they came, at most MAX_SERIES_POINTS.

    `every` is how many values one further point stands for: of a long series each second point has been left out.
    `skipped` counts those passed over since the last point.
    """

    points: tuple[tuple[float, float], ...] = ()
    every: int = 1
    skipped: int = 0

    def with_point(self, x: float, y: float) -> Series:
        """This series, further on. A point at or before the last x replaces what came after it: a run was taken up."""
        kept = self.points
        while kept and kept[-1][0] >= x:
            kept = kept[:-1]
        if kept and kept is self.points and self.skipped + 1 < self.every:
            return self.model_copy(update={"skipped": self.skipped + 1})
        kept = (*kept, (x, y))
        if len(kept) <= MAX_SERIES_POINTS:
            return self.model_copy(update={"points": kept, "skipped": 0})
        return self.model_copy(update={"points": kept[::2], "every": self.every * 2, "skipped": 0})


class JobRecord(_Value):
    """A job as everybody sees it.

    Its size is bounded: parameters are refused, texts and results cut beyond their limits. `faults` holds the first 200
    of each kind, `fault_counts` counts all. `version` grows with every change, counts
    included. `batches` is None until the work is laid out. `notes` tell a long job's story, `series` the measures of a
    training by name, over epochs. Times are ISO 8601 in UTC.
    """

    id: str
    kind: JobKind
    state: JobState = JobState.QUEUED
    params: dict[str, Any] = Field(default_factory=dict)
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    attempt: int = 0
    phase: str = "queued"
    batches: int | None = None
    progress: Progress = Progress()
    eta_s: float | None = None
    notes: tuple[JobNote, ...] = ()
    series: dict[str, Series] = Field(default_factory=dict)
    faults: tuple[JobFault, ...] = ()
    fault_counts: dict[str, int] = Field(default_factory=dict)
    result: dict[str, Any] | None = None
    error: JobError | None = None
    last_failure: StepFailure | None = None
    cancel_requested: bool = False
    request_id: str | None = None
    version: int = 0

    def started(self, *, phase: str) -> JobRecord:
        """This job, running. One that runs already was taken up anew: its attempt grows, its start stays."""
        return self.model_copy(
            update={
                "state": JobState.RUNNING,
                "phase": phase,
                "attempt": self.attempt + 1,
                "started_at": self.started_at or now(),
            }
        )

    def with_phase(self, phase: str) -> JobRecord:
        return self.model_copy(update={"phase": cut(phase, _NAME_CHARS)})

    def with_plan(self, *, total: int, batches: int, phase: str) -> JobRecord:
        """This job, its work laid out."""
        progress = self.progress.model_copy(update={"total": total})
        return self.model_copy(update={"progress": progress, "batches": batches, "phase": phase})

    def with_course(self, done: int, total: int, *, eta_s: float | None, phase: str | None) -> JobRecord:
        """This job, so far on its way, with the seconds that are left where they can be told."""
        progress = self.progress.model_copy(update={"course": done, "total": total})
        return self.model_copy(update={"progress": progress, "eta_s": eta_s, "phase": phase or self.phase})

    def with_failure(self, failure: StepFailure | None) -> JobRecord:
        return self.model_copy(update={"last_failure": failure})

    def with_note(self, text: str) -> JobRecord:
        """This job, with a further line of its story; of a long one the first and the newest lines are kept."""
        notes = (*self.notes, JobNote(at=now(), text=text))
        if len(notes) > MAX_NOTES:
            notes = (*notes[: MAX_NOTES // 2], *notes[-(MAX_NOTES // 2) :])
        return self.model_copy(update={"notes": notes})

    def with_measures(self, x: float, values: Mapping[str, float]) -> JobRecord:
        """This job, with a further point of each of these series. What is not finite, and names beyond MAX_SERIES, are
        left out.
        """
        series = dict(self.series)
        for name, value in values.items():
            key = cut(name, _NAME_CHARS)
            if math.isfinite(value) and (key in series or len(series) < MAX_SERIES):
                series[key] = series.get(key, Series()).with_point(x, value)
        return self.model_copy(update={"series": series})

    def succeeded(self, result: Mapping[str, Any]) -> JobRecord:
        return self._ended(JobState.SUCCEEDED, result=bounded_result(result), last_failure=None)

    def failed(self, error: VitrineError) -> JobRecord:
        return self._ended(JobState.FAILED, error=JobError.of(error))

    def cancelled(self) -> JobRecord:
        return self._ended(JobState.CANCELLED, cancel_requested=True)

    def _ended(self, state: JobState, **fields: Any) -> JobRecord:
        return self.model_copy(
            update={"state": state, "phase": state.value, "finished_at": now(), "eta_s": None, **fields}
        )


def cut(text: str, most: int) -> str:
    """The text, of a longer one its beginning."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def check_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job's parameters, or raise ParameterInvalid where they take more than a record may."""
    size_bytes = _json_bytes(params)
    if size_bytes > MAX_PARAMS_BYTES:
        raise ParameterInvalid(f"the job's parameters take {size_bytes} bytes, of at most {MAX_PARAMS_BYTES}")
    return params


def bounded_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result. Of one that is too large only the members that fit, small ones first, and the names of the rest."""
    if _json_bytes(result) <= MAX_RESULT_BYTES:
        return dict(result)
    kept: dict[str, Any] = {}
    left_bytes = MAX_RESULT_BYTES
    sizes = {name: _json_bytes(value) for name, value in result.items()}
    for name, size_bytes in sorted(sizes.items(), key=lambda one: one[1]):
        left_bytes -= size_bytes + len(name)
        if left_bytes < 0:
            break
        kept[name] = result[name]
    return {**kept, "left_out": [cut(name, _NAME_CHARS) for name in result if name not in kept][:_NAME_CHARS]}


def _json_bytes(value: Any) -> int:
    return len(pydantic_core.to_json(value))


def new_job_id() -> str:
    """A fresh id: the time in microseconds, then chance, so that ids sort by age."""
    return f"{time.time_ns() // 1000:013x}{secrets.token_hex(4)}"


def created_us(job_id: str) -> int:
    """The microsecond an id was made."""
    return int(job_id[:13], 16)


def check_job_id(job_id: str) -> str:
    """Return `job_id`, or raise JobNotFound where no job can have it: it becomes part of key names."""
    if _JOB_ID.fullmatch(job_id) is None:
        raise JobNotFound(f"there is no job {job_id[:40]!r}")
    return job_id


def check_change(before: JobRecord, after: JobRecord) -> None:
    """Raise JobFinished or Conflict where the states do not allow the change."""
    if before.state.finished:
        raise JobFinished(f"the job {before.id} has {before.state.value} already")
    if after.state != before.state and after.state not in _ALLOWED[before.state]:
        raise Conflict(f"a {before.state.value} job cannot become {after.state.value}")


def count_kinds(faults: tuple[JobFault, ...]) -> dict[str, int]:
    return dict(Counter(fault.kind for fault in faults))


def now(*, offset_s: float = 0.0) -> str:
    """The time `offset_s` seconds from now, ISO 8601 in UTC."""
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).isoformat(timespec="milliseconds")
