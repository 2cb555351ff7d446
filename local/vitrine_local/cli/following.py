"""Start jobs and follow them to their end, by server-sent events, and by polling if those do not arrive. Leaving early
leaves the job running. A search API that is away for a moment, such as one that restarts, is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.jobs.params.catalog import JobParams
from vitrine.parsing import parse_as
from vitrine_local.cli.api import Api, Json, Target
from vitrine_local.cli.output import ProgressDisplay, Screen
from vitrine_local.errors import CommandFailed

PATIENCE_S: Final = 60.0
P = TypeVar("P", bound=JobParams)


def job_params(model: type[P], /, **members: Any) -> P:
    """The parameters of a job. Members that are None are left to their defaults. Raises ParameterInvalid."""
    given = {
        name: str(value) if isinstance(value, Path) else value for name, value in members.items() if value is not None
    }
    return parse_as(model, given, what="job")


def run_job(
    screen: Screen,
    target: Target,
    kind: JobKind,
    params: JobParams,
    *,
    no_wait: bool,
    as_json: bool,
    doing: str,
    title: str,
    report: Callable[[Screen, JobRecord], None],
) -> JobRecord | None:
    """Start a job and follow it to its end, as --no-wait and --json say. `report` shows how it ended.

    Returns the record of a job that succeeded, if there is more to show. Raises CommandFailed if it did not succeed.
    """
    with Api(target) as api:
        record = start_job(api, kind, params)
        if not no_wait:
            screen.note(f"job {record.id}: {doing}")
            record = follow_job(api, screen, record.id, title)
    if as_json:
        screen.json(record.model_dump(mode="json"))
    elif no_wait:
        screen.say(record.id)
    else:
        report(screen, record)
    if no_wait:
        return None
    must_have_succeeded(record, doing)
    return None if as_json else record


def start_job(api: Api, kind: JobKind, params: JobParams) -> JobRecord:
    """Start a job. Only the members that were given are sent, so that the defaults of the server hold."""
    body = params.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return parse_job(api.post(f"/api/jobs/{kind.value}", body).get("job"))


def follow_job(api: Api, screen: Screen, job_id: str, title: str) -> JobRecord:
    """Show the progress of a job until it ends, and return its last record. Ctrl-C ends the display, not the job."""
    with ProgressDisplay(screen, title) as progress:
        try:
            return follow(api, job_id, progress.show_job)
        except KeyboardInterrupt:
            screen.note(
                f"the job is still running; follow it with `vitrine jobs {job_id} --follow`, "
                f"cancel it with `vitrine jobs {job_id} --cancel`"
            )
            raise


def follow(
    api: Api,
    job_id: str,
    show: Callable[[JobRecord], None],
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> JobRecord:
    """Call `show` with each version of the job's record that is seen, and return the finished one.

    Raises ServerUnreachable if there was no answer for `patience_s` seconds, and ApiRefused if the job is unknown or
    the API key is refused.
    """
    for content in api.job_records(job_id, patience_s=patience_s, clock=clock, pause=pause):
        record = parse_job(content)
        show(record)
        if record.state.finished:
            return record
    raise AssertionError("the last record is a finished one")


def read_job(api: Api, job_id: str) -> JobRecord:
    """The present record of a job. Raises ApiRefused if the job is unknown."""
    return parse_job(api.get(f"/api/jobs/{job_id}").get("job"))


def parse_job(content: Json | None) -> JobRecord:
    """The record of a job in an answer. Raises CommandFailed for a record that this version cannot read."""
    try:
        return JobRecord.model_validate(content)
    except ValidationError as error:
        raise CommandFailed(
            f"the search API describes a job in a way this command cannot read ({error.error_count()} errors): "
            "use the command of the same version as the server"
        ) from error


def must_have_succeeded(record: JobRecord, doing: str) -> JobRecord:
    """Return the record of a job that succeeded. Raises CommandFailed with the reason for any other."""
    if record.state is JobState.SUCCEEDED:
        return record
    if record.state is JobState.CANCELLED:
        raise CommandFailed(f"{doing} was cancelled (job {record.id})")
    reason = f"{record.error.detail} ({record.error.code})" if record.error else "the job gives no reason"
    raise CommandFailed(f"{doing} failed: {reason}")
