# Generated from _async/jobs.py by `make docs`.
"""Jobs: start them, list them, follow them to their end, cancel them."""

from __future__ import annotations

import builtins
import contextlib
import time
import uuid
from collections.abc import Callable, Generator
from typing import Any, Final

from pydantic_core import from_json

from vitrine_client._sync.connection import NDJSON, Connection
from vitrine_client.errors import AnswerInvalid, ApiError, ConnectionLost, JobFailed, ServerUnreachable, TimedOut
from vitrine_client.events import EventParser
from vitrine_client.models import JOB_KINDS, Job, JobAnswer, JobDeletedAnswer, JobParams, JobsAnswer
from vitrine_client.requests import option_pairs, parse, path_of

EVENT_STREAM: Final = "text/event-stream"
FINISHED: Final = frozenset({"succeeded", "failed", "cancelled"})
PATIENCE_S: Final = 60.0
_LAST_EVENT: Final = "end"
_POLL_S: Final = 0.5
_MAY_PASS: Final = frozenset({429, 502, 503, 504})


class Jobs:
    """Calls about jobs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self, params: JobParams, *, idempotency_key: str | None = None) -> Job:
        """Start the job that these parameters are of, such as IndexParams or TrainParams.

        A call that is repeated with the same key starts no second job; by default each call has a key of its own.
        """
        content = self._connection.call(
            "POST",
            path_of("jobs", JOB_KINDS[type(params)]),
            json=params.body(),
            headers={"Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )
        return parse(JobAnswer, content, "a job").job

    def list(
        self, *, kind: str | None = None, state: str | None = None, limit: int | None = None
    ) -> builtins.list[Job]:
        """The jobs, newest first, without faults, curves and long parameters."""
        params = dict(option_pairs({"kind": kind, "state": state, "limit": limit}))
        return parse(JobsAnswer, self._connection.call("GET", path_of("jobs"), params=params), "jobs").jobs

    def get(self, job_id: str) -> Job:
        return parse(JobAnswer, self._connection.call("GET", path_of("jobs", job_id)), "a job").job

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it is queued, else at its next step."""
        return parse(JobAnswer, self._connection.call("DELETE", path_of("jobs", job_id)), "a job").job

    def changes(self, job_id: str, *, kind: str | None = None) -> Generator[tuple[str, str], None]:
        """What an index job `added`, `changed` or `removed`, as (product id, change); with `kind` only one of them."""
        params = {} if kind is None else {"kind": kind}
        path = path_of("jobs", job_id, "changes")
        with self._connection.stream(path, media_type=NDJSON, params=params) as lines:
            for line in lines:
                try:
                    content = from_json(line)
                    change = str(content["id"]), str(content["change"])
                except (ValueError, KeyError, TypeError) as error:
                    raise AnswerInvalid(f"a line of the changes is not one: {line[:80]!r}") from error
                yield change

    def delete(self, job_id: str) -> JobDeletedAnswer:
        """Remove the record of a job that has ended."""
        content = self._connection.call("DELETE", path_of("jobs", job_id, "record"))
        return parse(JobDeletedAnswer, content, "a job's removal")

    def wait(
        self,
        job_id: str,
        *,
        on_progress: Callable[[Job], object] | None = None,
        timeout_s: float | None = None,
        patience_s: float = PATIENCE_S,
        must_succeed: bool = True,
    ) -> Job:
        """The job once it has ended. `on_progress` gets each version of it that is seen.

        Raises JobFailed if it did not succeed, unless `must_succeed` is false, TimedOut if it has not ended within
        `timeout_s` (it goes on), and what `follow` raises.
        """
        job = None
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        with contextlib.closing(self.follow(job_id, patience_s=patience_s)) as versions:
            for job in versions:
                if on_progress is not None:
                    on_progress(job)
                if end_s is not None and time.monotonic() > end_s and job.state not in FINISHED:
                    raise TimedOut(f"the job {job_id} has not ended within {timeout_s:g} s; it goes on")
        assert job is not None
        if must_succeed and job.state != "succeeded":
            code = job.error.code if job.error else "job_cancelled" if job.state == "cancelled" else "job_failed"
            reason = f": {job.error.detail} ({code})" if job.error else ""
            raise JobFailed(f"the {job.kind} job {job.id} is {job.state}{reason}", job_id=job.id, code=code)
        return job

    def follow(self, job_id: str, *, patience_s: float = PATIENCE_S) -> Generator[Job, None]:
        """Each version of a job that is seen, the finished one last: by events, and by polling if none arrive.

        A server that is away for less than `patience_s` seconds is waited for. Raises VitrineError.
        """
        with contextlib.closing(self.follow_records(job_id, patience_s=patience_s)) as records:
            for record in records:
                yield parse(Job, record, "a job")

    def follow_records(
        self,
        job_id: str,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> Generator[dict[str, Any], None]:
        """The same as JSON."""
        version: int | None = None
        heard_s = clock()
        while True:
            with contextlib.suppress(ApiError, AnswerInvalid, ConnectionLost, ServerUnreachable, TimedOut):
                with contextlib.closing(self.events(job_id, last_version=version)) as records:
                    for record in records:
                        heard_s, version = clock(), record.get("version")
                        yield record
                        if record.get("state") in FINISHED:
                            return
            # The stream has ended early. What this call raises is why.
            try:
                record = (self._connection.call("GET", path_of("jobs", job_id)))["job"]
            except (AnswerInvalid, ConnectionLost, ServerUnreachable, TimedOut):
                if clock() - heard_s > patience_s:
                    raise
            except ApiError as error:
                if error.status not in _MAY_PASS or clock() - heard_s > patience_s:
                    raise
            else:
                heard_s = clock()
                if record.get("version") != version:
                    version = record.get("version")
                    yield record
                if record.get("state") in FINISHED:
                    return
            pause(_POLL_S)

    def events(self, job_id: str, *, last_version: int | None = None) -> Generator[dict[str, Any], None]:
        """The records of one stream of events, until it ends; it may end before the job does."""
        headers = {} if last_version is None else {"Last-Event-ID": str(last_version)}
        path = path_of("jobs", job_id, "events")
        parser = EventParser()
        with self._connection.stream(path, media_type=EVENT_STREAM, headers=headers) as lines:
            for line in lines:
                event = parser.feed(line)
                if event is None:
                    continue
                if event.name == _LAST_EVENT:
                    return
                try:
                    yield from_json(event.data)
                except ValueError as error:
                    raise AnswerInvalid(f"an event of the job {job_id} is not JSON") from error
