"""The answers about jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from vitrine.jobs import JobRecord


class JobOut(JobRecord):
    """A job.

    `faults` has the first of each kind, `fault_counts` counts all of them. `version` grows with every change. `batches`
    is null until the work is planned. `notes` are the log of a long job, `series` the metrics of a training over
    epochs, by name. Times are ISO 8601 in UTC.
    """


class JobAnswer(BaseModel):
    """One job."""

    success: Literal[True]
    job: JobOut


class JobsAnswer(BaseModel):
    """Jobs, the newest first."""

    success: Literal[True]
    jobs: list[JobOut]


class JobDeletedAnswer(BaseModel):
    """The job whose record was removed."""

    success: Literal[True]
    id: str
