"""The job record: kind, state and allowed transitions, progress, faults and results. Pure values, no Redis.

queued ──► running ──► succeeded
   │          ├──────► failed
   │          └──────► cancelled
   ├─────────────────► failed
   └─────────────────► cancelled
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import pydantic_core
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vitrine.errors import Conflict, JobFinished, VitrineError

# A limit per kind, so that a thousand empty fields do not hide the one missing picture.
MAX_FAULTS_OF_A_KIND: Final = 200
MAX_NOTES: Final = 200
MAX_SERIES: Final = 16
MAX_SERIES_POINTS: Final = 200
MAX_RESULT_BYTES: Final = 128 * 1024
# Texts from a catalogue, a library or a caller are cut at these lengths.
_NAME_CHARS: Final = 200
_TEXT_CHARS: Final = 2000


class JobKind(StrEnum):
    INDEX = "index"
    PROJECT = "project"
    TRAIN = "train"
    ADAPT = "adapt"
    TUNE = "tune"
    EVALUATE = "evaluate"
    EXPERIMENT = "experiment"
    VISUALIZE = "visualize"
    HEALTH = "health"
    UPSERT = "upsert"
    DELETE = "delete"


class JobState(StrEnum):
    """The last three states are final."""

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


def _truncated_to(max_chars: int) -> BeforeValidator:
    return BeforeValidator(lambda value: truncate(value, max_chars) if isinstance(value, str) else value)


_Name = Annotated[str, _truncated_to(_NAME_CHARS)]
_Text = Annotated[str, _truncated_to(_TEXT_CHARS)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class JobFault(_Value):
    """A problem with one item. The job goes on without that item."""

    product_id: _Name | None
    kind: _Name
    detail: _Text


class JobError(_Value):
    """Why the whole job failed: the code and the detail of an error of `vitrine.errors`."""

    code: _Name
    detail: _Text

    @classmethod
    def of(cls, error: VitrineError) -> JobError:
        return cls(code=error.code, detail=error.detail)


class StepFailure(_Value):
    """The last failure of a step: the error, the number of failures in a row, and the time of the first of them.

    `retry_at` is when the step is due again, or None if the failure ended the job.
    """

    step: str
    code: _Name
    detail: _Text
    tries: int
    since: str
    at: str
    retry_at: str | None = None


class Progress(_Value):
    """Counts of items. `skipped` items were already up to date. `total` is None until it is known.

    `course` is the progress of a training in pictures over all epochs. It can go back when a run resumes.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int | None = None
    course: int | None = None


class BatchOutcome(_Value):
    """The result of one batch. Every failed item has one fault, so `failed == len(faults)`.

    `picture_faults` are of single pictures whose products are stored without them. `pictures` is the number of pictures
    that were embedded, for products that can have several.
    """

    done: int = 0
    skipped: int = 0
    pictures: int = 0
    faults: tuple[JobFault, ...] = ()
    picture_faults: tuple[JobFault, ...] = ()

    @property
    def failed(self) -> int:
        return len(self.faults)

    def failed_ids(self) -> frozenset[str]:
        return frozenset(fault.product_id for fault in self.faults if fault.product_id is not None)

    def plus(self, other: BatchOutcome) -> BatchOutcome:
        return BatchOutcome(
            done=self.done + other.done,
            skipped=self.skipped + other.skipped,
            pictures=self.pictures + other.pictures,
            faults=(*self.faults, *other.faults),
            picture_faults=(*self.picture_faults, *other.picture_faults),
        )


class JobNote(_Value):
    """A line of a job's log."""

    at: str
    text: _Text


class Series(_Value):
    """A metric over time: points (x, y) in order of arrival, at most MAX_SERIES_POINTS.

    A long series is thinned: `every` is the number of values per stored point, and `skipped` counts the values since
    the last stored point.
    """

    points: tuple[tuple[float, float], ...] = ()
    every: int = 1
    skipped: int = 0

    def with_point(self, x: float, y: float) -> Series:
        """Add a point. All points at or after its x are removed first, because a resumed run repeats them."""
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
    """A job. Methods return a changed copy.

    The size is bounded: too large parameters are refused, long texts and results are cut. `faults` has the first
    MAX_FAULTS_OF_A_KIND of each kind, `fault_counts` counts all of them. `version` grows with every change, including
    changes of counts. `batches` is None until the work is planned. `notes` are the log of a long job, `series` the
    metrics of a training over epochs, by name. Times are ISO 8601 in UTC.
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
        """Set the job running. If it runs already, it was resumed: the attempt grows and the start time stays."""
        return self.model_copy(
            update={
                "state": JobState.RUNNING,
                "phase": phase,
                "attempt": self.attempt + 1,
                "started_at": self.started_at or now(),
            }
        )

    def with_phase(self, phase: str) -> JobRecord:
        return self.model_copy(update={"phase": truncate(phase, _NAME_CHARS)})

    def with_plan(self, *, total: int, batches: int, phase: str) -> JobRecord:
        progress = self.progress.model_copy(update={"total": total})
        return self.model_copy(update={"progress": progress, "batches": batches, "phase": phase})

    def with_course(self, done: int, total: int, *, eta_s: float | None, phase: str | None) -> JobRecord:
        """Set the progress of a training. `eta_s` are the estimated seconds left, if known."""
        progress = self.progress.model_copy(update={"course": done, "total": total})
        return self.model_copy(update={"progress": progress, "eta_s": eta_s, "phase": phase or self.phase})

    def with_failure(self, failure: StepFailure | None) -> JobRecord:
        return self.model_copy(update={"last_failure": failure})

    def with_note(self, text: str) -> JobRecord:
        """Add a line to the log. Of more than MAX_NOTES lines the first and the last half are kept."""
        notes = (*self.notes, JobNote(at=now(), text=text))
        if len(notes) > MAX_NOTES:
            notes = (*notes[: MAX_NOTES // 2], *notes[-(MAX_NOTES // 2) :])
        return self.model_copy(update={"notes": notes})

    def with_measures(self, x: float, values: Mapping[str, float]) -> JobRecord:
        """Add a point to each series. Ignores values that are not finite, and new names beyond MAX_SERIES."""
        series = dict(self.series)
        for name, value in values.items():
            key = truncate(name, _NAME_CHARS)
            if math.isfinite(value) and (key in series or len(series) < MAX_SERIES):
                series[key] = series.get(key, Series()).with_point(x, value)
        return self.model_copy(update={"series": series})

    def succeeded(self, result: Mapping[str, Any]) -> JobRecord:
        return self._ended(JobState.SUCCEEDED, result=bounded_result(result), last_failure=None)

    def failed(self, error: VitrineError) -> JobRecord:
        return self._ended(JobState.FAILED, error=JobError.of(error))

    def cancelled(self) -> JobRecord:
        return self._ended(JobState.CANCELLED, cancel_requested=True)

    def with_cancel_request(self) -> JobRecord:
        """Cancel a queued job at once, and a running one at its next step. Raises JobFinished."""
        if self.state is JobState.QUEUED:
            return self.cancelled()
        if self.state.finished:
            raise JobFinished(f"the job {self.id} has {self.state.value} already")
        return self.model_copy(update={"cancel_requested": True})

    def _ended(self, state: JobState, **fields: Any) -> JobRecord:
        return self.model_copy(
            update={"state": state, "phase": state.value, "finished_at": now(), "eta_s": None, **fields}
        )


def truncate(text: str, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


def bounded_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result. If it is larger than MAX_RESULT_BYTES: the smallest members that fit, and the names of the others."""
    if json_bytes(result) <= MAX_RESULT_BYTES:
        return dict(result)
    kept: dict[str, Any] = {}
    left_bytes = MAX_RESULT_BYTES
    sizes = {name: json_bytes(value) for name, value in result.items()}
    for name, size_bytes in sorted(sizes.items(), key=lambda one: one[1]):
        left_bytes -= size_bytes + len(name)
        if left_bytes < 0:
            break
        kept[name] = result[name]
    return {**kept, "left_out": [truncate(name, _NAME_CHARS) for name in result if name not in kept][:_NAME_CHARS]}


def json_bytes(value: Any) -> int:
    return len(pydantic_core.to_json(value))


def check_change(before: JobRecord, after: JobRecord) -> None:
    """Raises JobFinished or Conflict if the states do not allow the change."""
    if before.state.finished:
        raise JobFinished(f"the job {before.id} has {before.state.value} already")
    if after.state != before.state and after.state not in _ALLOWED[before.state]:
        raise Conflict(f"a {before.state.value} job cannot become {after.state.value}")


def now(*, offset_s: float = 0.0) -> str:
    """The time in `offset_s` seconds, ISO 8601 in UTC."""
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).isoformat(timespec="milliseconds")
