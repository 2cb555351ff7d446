"""Starts the indexings that are due by a schedule.

A job is started only while no other job indexes the dataset, so two never run at once; until then the schedule stays
due. The job uses the release that serves at that time, so a schedule never switches back to an earlier one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from indexer.vectors import Vectors
from vitrine.errors import JobFinished, Unavailable
from vitrine.jobs import JobKind, JobRecord, JobStore
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.schedules import Schedule, ScheduleStore, utc_now
from vitrine.telemetry import get_logger

_INTERVAL_S: Final = 5.0
_AGAIN_S: Final = 60.0


class Scheduler:
    """A thread in the indexer's parent process. Those of several indexers may run at the same time."""

    def __init__(
        self,
        schedules: ScheduleStore,
        jobs: JobStore,
        vectors: Vectors,
        publisher: JobPublisher,
        *,
        interval_s: float = _INTERVAL_S,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._schedules = schedules
        self._jobs = jobs
        self._vectors = vectors
        self._publisher = publisher
        self._interval_s = interval_s
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._log = get_logger("scheduler")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def start_due(self) -> list[JobRecord]:
        """Start and return the jobs that are due. Raises Unavailable."""
        started = []
        moment = self._clock()
        for schedule in self._schedules.all():
            if schedule.is_due(moment) and not self._indexing(schedule.dataset):
                record = self._started(schedule, moment)
                if record is not None:
                    started.append(record)
        return started

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self.start_due()
            except Unavailable as error:  # it is tried again soon
                self._log.debug("schedule_failure", code=error.code)
            except Exception as defect:
                # The thread must survive every error, because nothing else starts scheduled jobs.
                self._log.error("schedule_defect", exc_info=defect)

    def _started(self, schedule: Schedule, moment: datetime) -> JobRecord | None:
        # The same key for the same moment: another indexer may have started the job already.
        key = f"schedule:{schedule.field}:{schedule.next_at}"
        record, is_new = self._jobs.create(JobKind.INDEX, self._params(schedule), idempotency_key=key)
        if is_new and self._indexing(schedule.dataset, before=record):
            # Somebody started an indexing just before.
            self._cancel(record)
            self._schedules.replace(schedule, schedule.delayed(moment, seconds=_AGAIN_S))
            return None
        self._publisher.publish(record)
        after = schedule.delayed(moment, seconds=schedule.every_s, last_job=record.id)
        if not self._schedules.replace(schedule, after) and is_new and not self._is_known(schedule):
            self._cancel(record)
            return None
        self._log.info("scheduled_indexing", dataset=schedule.dataset, model=schedule.model, job_id=record.id)
        return record if is_new else None

    def _is_known(self, schedule: Schedule) -> bool:
        return any(one.field == schedule.field for one in self._schedules.all())

    def _cancel(self, record: JobRecord) -> None:
        try:
            self._jobs.request_cancel(record.id)
        except JobFinished:
            self._log.debug("schedule_cancel_late", job_id=record.id)

    def _indexing(self, dataset: str, *, before: JobRecord | None = None) -> bool:
        """Whether a job indexes the dataset; with `before`, one that was created earlier."""
        return any(
            record.params.get("dataset") == dataset and (before is None or record.id < before.id)
            for record in self._jobs.unfinished((JobKind.INDEX,))
        )

    def _params(self, schedule: Schedule) -> dict[str, Any]:
        served = [
            one.release_id
            for one in self._vectors.servings()
            if (one.dataset, one.model) == (schedule.dataset, schedule.model)
        ]
        release_id = served[0] if served else schedule.params.get("release_id")
        return {**schedule.params, "release_id": release_id, "scheduled": True}
