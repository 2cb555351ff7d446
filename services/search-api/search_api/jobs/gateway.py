"""Create, publish and await jobs. The record is written before the message is sent. If the message is lost between the
two, the sweeper of the indexer sends it again.
"""

from __future__ import annotations

import asyncio

from search_api.jobs.feed import JobFeed
from search_api.settings import Settings
from vitrine.errors import DeadlineExpired, ImageRejected, JobCancelled, VitrineError
from vitrine.jobs import AsyncJobStore, JobKind, JobRecord, JobState
from vitrine.jobs.params.catalog import JobParams
from vitrine.jobs.publisher import JobPublisher
from vitrine.telemetry import current_request_id, get_logger


class JobsGateway:
    """Creates, publishes and awaits jobs."""

    def __init__(self, store: AsyncJobStore, feed: JobFeed, settings: Settings) -> None:
        self.store = store
        self._feed = feed
        self._publisher = JobPublisher(settings)
        self._log = get_logger("jobs")

    async def close(self) -> None:
        await asyncio.to_thread(self._publisher.close)

    async def submit(
        self, kind: JobKind, params: JobParams, *, idempotency_key: str | None = None
    ) -> tuple[JobRecord, bool]:
        """(the job, whether it is new). A repeated key returns the earlier job. Raises BrokerUnavailable."""
        record, created = await self.store.create(
            kind, params.as_record(), idempotency_key=idempotency_key, request_id=current_request_id()
        )
        if created:
            try:
                await asyncio.to_thread(self._publisher.publish, record)
            except VitrineError as error:
                # The record is kept; the sweeper sends the message when the broker is back.
                self._log.warning("job_publish_failure", job_id=record.id, code=error.code)
        return record, created

    async def finished(self, job_id: str, *, timeout_s: float) -> JobRecord:
        """The job once it has succeeded. Raises the error it failed with, JobCancelled, or DeadlineExpired."""
        try:
            async with asyncio.timeout(timeout_s):
                record = await self._feed.finished(job_id)
        except TimeoutError:
            raise DeadlineExpired(
                f"the job {job_id} is still running: follow it at /api/jobs/{job_id}", job=job_id, retry_after_s=1.0
            ) from None
        if record.state is JobState.FAILED:
            raise _error_of(record)
        if record.state is JobState.CANCELLED:
            raise JobCancelled(f"the job {job_id} was cancelled", job=job_id)
        return record


def _error_of(record: JobRecord) -> VitrineError:
    """The error a job failed with, as the class of its code."""
    code, detail = (record.error.code, record.error.detail) if record.error else ("internal_error", "the job failed")
    if code.startswith("image_") and code != "image_missing":
        return ImageRejected(code.removeprefix("image_"), detail)
    kind = _classes_by_code().get(code, VitrineError)
    return kind(detail, job=record.id)


def _classes_by_code() -> dict[str, type[VitrineError]]:
    classes: dict[str, type[VitrineError]] = {}
    waiting = [VitrineError]
    while waiting:
        kind = waiting.pop()
        if not issubclass(kind, ImageRejected):  # its code depends on its reason
            classes[kind.code] = kind
        waiting.extend(kind.__subclasses__())
    return classes
