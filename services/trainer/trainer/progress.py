"""How long-running work reports its progress and learns that it must stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, Protocol

from vitrine.errors import JobCancelled, RecordChanged
from vitrine.jobs import BatchOutcome, JobFault, JobState, JobStore, Lease, StepStore

_WRITE_EVERY_S: Final = 1.0


class Progress(Protocol):
    """Receives the progress of a run. Every method but `note` and `measures` may raise to stop the run."""

    def phase(self, phase: str) -> None: ...

    def note(self, text: str) -> None: ...

    def measures(self, x: float, values: Mapping[str, float]) -> None: ...

    def faults(self, source: str, faults: list[JobFault]) -> None: ...

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None: ...

    def saved(self) -> None: ...

    def check(self) -> None: ...


class NoProgress:
    """Ignores every report."""

    def phase(self, phase: str) -> None: ...

    def note(self, text: str) -> None: ...

    def measures(self, x: float, values: Mapping[str, float]) -> None: ...

    def faults(self, source: str, faults: list[JobFault]) -> None: ...

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None: ...

    def saved(self) -> None: ...

    def check(self) -> None: ...


class JobProgress:
    """The progress of one attempt at a job, written to the job's record.

    Raises JobCancelled if the job is to end, and RecordChanged if another worker took it over (`lease` is lost).
    """

    def __init__(self, job_id: str, jobs: JobStore, lease: Lease, steps: StepStore) -> None:
        self.job_id = job_id
        self._jobs = jobs
        self._lease = lease
        self._steps = steps
        self._written_s = 0.0

    def phase(self, phase: str) -> None:
        """Name what begins now. Raises JobCancelled, RecordChanged."""
        self.check()
        self._jobs.update(self.job_id, lambda record: record.with_phase(phase))

    def note(self, text: str) -> None:
        """Add a line to the record's notes."""
        self._jobs.update(self.job_id, lambda record: record.with_note(text))

    def measures(self, x: float, values: Mapping[str, float]) -> None:
        """Add a point to each of these curves."""
        self._jobs.update(self.job_id, lambda record: record.with_measures(x, values))

    def saved(self) -> None:
        """The work so far is kept, so earlier crashes of the worker do not count against the job any more."""
        self._steps.reset_crashes(self.job_id, self._lease.step)

    def faults(self, source: str, faults: list[JobFault]) -> None:
        """Count the products that could not be used, once for each `source`."""
        self._jobs.note_faults(self.job_id, source, faults)

    def check(self) -> None:
        """Raise JobCancelled if the job is to end, and RecordChanged if another worker took it over."""
        if self._lease.lost.is_set():
            raise RecordChanged("another worker has taken this job over")
        record = self._jobs.get(self.job_id)
        if record.cancel_requested or record.state is not JobState.RUNNING:
            raise JobCancelled("the job was cancelled")

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None:
        """Write how far the work is, at most once a second, and check. Raises as `check` does."""
        now = time.monotonic()
        if now - self._written_s < _WRITE_EVERY_S and done < total:
            return
        self._written_s = now
        self.check()
        self._jobs.update(self.job_id, lambda record: record.with_course(done, total, eta_s=eta_s, phase=phase))

    def plan(self, *, total: int, batches: int, phase: str) -> None:
        """Begin work that is counted in items and batches."""
        self._jobs.update(self.job_id, lambda record: record.with_plan(total=total, batches=batches, phase=phase))

    def finish_batch(self, number: int, outcome: BatchOutcome) -> None:
        """Count a batch whose result is kept."""
        self._jobs.finish_batch(self.job_id, number, outcome)
        self.saved()

    def within(self, step: str) -> StepProgress:
        """The progress of a step that is a whole job of its own."""
        return StepProgress(self.job_id, self._jobs, self._lease, self._steps, step=step)


class StepProgress(JobProgress):
    """The progress of one step of a job that consists of other jobs.

    Phases, notes and curves carry the name of the step. Batches are reported as progress, because the record has only
    one count of batches for the whole job.
    """

    def __init__(self, job_id: str, jobs: JobStore, lease: Lease, steps: StepStore, *, step: str) -> None:
        super().__init__(job_id, jobs, lease, steps)
        self._step = step
        self._total = 0
        self._done = 0

    def phase(self, phase: str) -> None:
        super().phase(f"{self._step}: {phase}")

    def note(self, text: str) -> None:
        super().note(f"{self._step}: {text}")

    def measures(self, x: float, values: Mapping[str, float]) -> None:
        super().measures(x, {f"{self._step}: {name}": value for name, value in values.items()})

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None:
        super().progress(done, total, eta_s=eta_s, phase=None if phase is None else f"{self._step}: {phase}")

    def plan(self, *, total: int, batches: int, phase: str) -> None:
        del batches
        self._total, self._done = total, 0
        self.phase(phase)

    def finish_batch(self, number: int, outcome: BatchOutcome) -> None:
        self._done += outcome.done + outcome.failed
        self.faults(f"{self._step} {number}", list(outcome.faults))
        self.progress(self._done, max(self._total, self._done), eta_s=None, phase="extracting features")
        self.saved()
