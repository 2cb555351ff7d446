"""Follow a job to its end: by server-sent events, and by asking where those do not come. A search API that goes away
for a moment, as one does that is being restarted, is waited for; the job does not depend on it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from vitrine.jobs import JobRecord
from vitrine_local.cli.api import Api, ApiRefused, Json
from vitrine_local.errors import CommandFailed, ServerUnreachable

PATIENCE_S = 60.0
_POLL_S = 0.5


def follow(
    api: Api,
    job_id: str,
    show: Callable[[JobRecord], None],
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> JobRecord:
    """Tell `show` each version of the job's record that is seen, and return the finished one.

    Raises ServerUnreachable when nothing was heard for `patience_s`, and ApiRefused where the search API knows no such
    job or wants a key.
    """
    version: int | None = None
    heard_s = clock()
    while True:
        with contextlib.suppress(ServerUnreachable, ApiRefused):  # asking, below, tells what is the matter
            for record in _events(api, job_id, version):
                heard_s, version = clock(), record.version
                show(record)
                if record.state.finished:
                    return record
        try:
            record = read_job(api, job_id)
        except ServerUnreachable:
            if clock() - heard_s > patience_s:
                raise
        except ApiRefused as refused:
            if not refused.may_pass or clock() - heard_s > patience_s:
                raise
        else:
            heard_s = clock()
            if record.version != version:
                version = record.version
                show(record)
            if record.state.finished:
                return record
        pause(_POLL_S)


def read_job(api: Api, job_id: str) -> JobRecord:
    """The job's record as it is now. Raises ApiRefused where there is none."""
    return parse_job(api.get(f"/api/jobs/{job_id}").get("job"))


def parse_job(content: Json | None) -> JobRecord:
    """A job's record out of an answer. Raises CommandFailed where it is none that this command understands."""
    try:
        return JobRecord.model_validate(content)
    except ValidationError as error:
        raise CommandFailed(
            f"the search API describes a job in a way this command does not understand ({error.error_count()} faults): "
            "use the command of the same version as the server"
        ) from error


def _events(api: Api, job_id: str, version: int | None) -> Iterator[JobRecord]:
    last_id = None if version is None else str(version)
    for content in api.events(f"/api/jobs/{job_id}/events", last_id=last_id):
        yield parse_job(content)
