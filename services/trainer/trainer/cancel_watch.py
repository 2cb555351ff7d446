"""Ends the process of a cancelled job that does not stop in time.

A job checks between its steps whether it was cancelled. Reading a long catalogue, loading a large network or a single
call of a library has no steps. The process runs only this job, and files appear whole or not at all, so the effect is
that of `kill -9`; the worker's parent starts another process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from vitrine.errors import BrokerUnavailable, JobFinished, JobNotFound
from vitrine.jobs import JobRecord, JobState, JobStore
from vitrine.telemetry import get_logger

GRACE_S: Final = 5.0
_POLL_S: Final = 1.0
_EXIT_STATUS: Final = 1


class CancelWatch:
    """Watches a job while the block runs. `cancel` writes to the record that the job has ended."""

    def __init__(
        self, jobs: JobStore, job_id: str, *, cancel: Callable[[JobRecord], None], grace_s: float = GRACE_S
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._cancel = cancel
        self._grace_s = grace_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cancel-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        record = self._wait_for_cancellation()
        if record is None or self._done.wait(self._grace_s):
            return
        get_logger("trainer").warning("job_ended_by_force", job_id=self._job_id, phase=record.phase)
        try:
            self._cancel(record)
        except (BrokerUnavailable, JobFinished, JobNotFound):
            pass  # the sweeper cancels a job that no worker holds
        finally:
            os._exit(_EXIT_STATUS)

    def _wait_for_cancellation(self) -> JobRecord | None:
        """The record once the job is to end, or None if the block ends before."""
        while not self._done.wait(_POLL_S):
            try:
                record = self._jobs.get(self._job_id)
            except BrokerUnavailable:
                continue
            except JobNotFound:
                return None
            if record.cancel_requested or record.state is not JobState.RUNNING:
                return record
        return None
