"""A job as the pages show it: its subject, progress, rate and result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from search_api.jobs.service import scope_of
from search_api.pages.formats import curve_titles
from search_api.pages.visitors import Visitor
from vitrine.jobs import JobFault, JobKind, JobRecord, JobState

_TONES: Final = {
    JobState.QUEUED: "second",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "good",
    JobState.FAILED: "bad",
    JobState.CANCELLED: "doubtful",
}
_VERBS: Final = {
    JobKind.INDEX: "Index",
    JobKind.PROJECT: "Make a release of",
    JobKind.TRAIN: "Train",
    JobKind.ADAPT: "Adapt",
    JobKind.TUNE: "Tune",
    JobKind.EVALUATE: "Evaluate",
    JobKind.EXPERIMENT: "Experiment",
    JobKind.VISUALIZE: "Draw a map of",
    JobKind.HEALTH: "Check the health of",
    JobKind.UPSERT: "Put a product into",
    JobKind.DELETE: "Delete a product from",
}
# Kinds that write an evaluation report. A map has its own page.
REPORTING: Final = frozenset({JobKind.EVALUATE, JobKind.EXPERIMENT})
# Members of a result that the page shows elsewhere or that mean nothing to users.
_RESULT_SHOWN: Final = frozenset({"report", "release_id", "release", "lines", "strictness", "collection", "seconds"})
_MAX_TEXT: Final = 200
# A mean rate over fewer seconds is noise.
_RATE_AFTER_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class FaultGroup:
    """The faults of one kind. `count` is the number of all, `listed` has those in the record."""

    kind: str
    count: int
    listed: tuple[JobFault, ...]


@dataclass(frozen=True, slots=True)
class JobView:
    """`done` and `total` count `unit`; `fraction` is None while the total is unknown."""

    record: JobRecord
    title: str
    kind: str
    tone: str
    subject: str
    unit: str
    done: int
    total: int | None
    fraction: float | None
    per_s: float | None
    left_s: float | None
    took_s: float | None
    dataset: str | None
    may_change: bool

    @property
    def state(self) -> str:
        cancelling = self.record.cancel_requested and not self.record.state.finished
        return "cancelling" if cancelling else self.record.state.value

    @property
    def release(self) -> str | None:
        """The release that the job made or used."""
        made = (self.record.result or {}).get("release_id") or (self.record.result or {}).get("release")
        return made if isinstance(made, str) else None

    @property
    def report(self) -> str | None:
        """`report`, `map` or `health` if the job wrote one."""
        if self.record.state is not JobState.SUCCEEDED or "report" not in (self.record.result or {}):
            return None
        if self.record.kind is JobKind.VISUALIZE:
            return "map"
        if self.record.kind is JobKind.HEALTH:
            return "health"
        return "report" if self.record.kind in REPORTING else None

    @property
    def results(self) -> tuple[tuple[str, str], ...]:
        """The members of the result that are a number or a short text."""
        found = []
        for name, value in (self.record.result or {}).items():
            if name in _RESULT_SHOWN or isinstance(value, dict | list) or value is None:
                continue
            found.append((name.replace("_", " "), _shown(value)))
        return tuple(found)

    @property
    def curves(self) -> tuple[str, ...]:
        """The titles of the curves."""
        return curve_titles(self.record.series)

    @property
    def has_curves(self) -> bool:
        """Whether the job has curves or will have some."""
        is_coming = self.record.kind is JobKind.TRAIN and not self.record.state.finished
        return is_coming or bool(self.record.series)

    @property
    def notices(self) -> tuple[str, ...]:
        found = (self.record.result or {}).get("notices")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """The parameters by name; long values are cut."""
        return tuple(
            (name.replace("_", " "), str(value)[:_MAX_TEXT])
            for name, value in self.record.params.items()
            if value not in (None, "", [], {}) and not isinstance(value, dict)
        )

    @property
    def faults(self) -> tuple[FaultGroup, ...]:
        """Faults by kind, the commonest first."""
        by_kind: dict[str, list[JobFault]] = {}
        for fault in self.record.faults:
            by_kind.setdefault(fault.kind, []).append(fault)
        counts = sorted(self.record.fault_counts.items(), key=lambda one: (-one[1], one[0]))
        return tuple(FaultGroup(kind, count, tuple(by_kind.get(kind, ()))) for kind, count in counts)


def job_view(record: JobRecord, visitor: Visitor) -> JobView:
    """The view of a record for a visitor."""
    params, progress = record.params, record.progress
    counted = progress.done + progress.failed + progress.skipped
    done = progress.course if progress.course is not None else counted
    took_s = _between_s(record.started_at, record.finished_at)
    is_running = record.state is JobState.RUNNING
    per_s = done / took_s if done and took_s is not None and took_s >= _RATE_AFTER_S else None
    left_s = record.eta_s if is_running else None
    if is_running and left_s is None and per_s and progress.total and progress.course is None:
        left_s = max(0.0, (progress.total - done) / per_s)
    fraction = min(1.0, done / progress.total) if progress.total else None
    dataset = params.get("dataset")
    return JobView(
        record=record,
        title=f"{_VERBS[record.kind]} {_subject(record)}".strip(),
        kind=record.kind.value,
        tone=_TONES[record.state],
        subject=_subject(record),
        unit="pictures" if progress.course is not None else "products",
        done=done,
        total=progress.total,
        fraction=1.0 if record.state is JobState.SUCCEEDED else fraction,
        per_s=per_s,
        left_s=left_s,
        took_s=took_s,
        dataset=dataset if isinstance(dataset, str) else None,
        may_change=visitor.may(scope_of(record.kind)),
    )


def _subject(record: JobRecord) -> str:
    """The subject of a job: a model, releases, a dataset or a product."""
    params = record.params
    dataset = str(params.get("dataset") or "")
    match record.kind:
        case JobKind.INDEX:
            return f"{dataset} with {params.get('release_id') or params.get('model')}"
        case JobKind.TRAIN | JobKind.PROJECT:
            return f"{params.get('model')} on {dataset}"
        case JobKind.ADAPT | JobKind.TUNE:
            return f"{params.get('release_id')} on {dataset}"
        case JobKind.EVALUATE:
            named = (params.get("plan") or {}).get("releases") or []
            return f"{', '.join(map(str, named)) or 'releases'} on {dataset}"
        case JobKind.VISUALIZE:
            return f"{dataset} as {params.get('release_id')} sees it"
        case JobKind.HEALTH:
            return f"{dataset} with {params.get('model')}"
        case JobKind.EXPERIMENT:
            return str((params.get("experiment") or {}).get("title") or "")
        case _:
            return dataset


def _between_s(start: str | None, end: str | None) -> float | None:
    if start is None:
        return None
    until = datetime.now(UTC) if end is None else datetime.fromisoformat(end)
    return max(0.0, (until - datetime.fromisoformat(start)).total_seconds())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return str(value)[:_MAX_TEXT]
