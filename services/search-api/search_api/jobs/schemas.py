"""The answers about jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class JobOut(BaseModel):
    """A job's record."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    version: int = Field(description="Grows by one with every change")


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
