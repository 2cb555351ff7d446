"""Start a job through the search API and stay with it until it ends. Leaving early leaves the job running."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from vitrine.jobs import JobRecord
from vitrine_local.cli.api import Api
from vitrine_local.cli.following import follow, parse_job
from vitrine_local.cli.job_report import must_have_succeeded
from vitrine_local.cli.progress import ProgressDisplay
from vitrine_local.cli.screen import Screen
from vitrine_local.cli.target import Target


def run_job(
    arguments: argparse.Namespace,
    screen: Screen,
    target: Target,
    path: str,
    body: Mapping[str, Any],
    *,
    doing: str,
    title: str,
    report: Callable[[Screen, JobRecord], None],
) -> JobRecord | None:
    """Start a job and see it through, as --no-wait and --json say. `report` tells how it ended, whichever way.

    Returns the record of a job that succeeded, where there is more of it to be shown. Raises CommandFailed where it did
    not succeed.
    """
    with Api(target) as api:
        record = start_job(api, path, body)
        if not arguments.no_wait:
            screen.note(f"job {record.id}: {doing}")
            record = follow_job(api, screen, record.id, title)
    if arguments.json:
        screen.json(record.model_dump(mode="json"))
    elif arguments.no_wait:
        screen.say(record.id)
    else:
        report(screen, record)
    if arguments.no_wait:
        return None
    must_have_succeeded(record, doing)
    return None if arguments.json else record


def start_job(api: Api, path: str, body: Mapping[str, Any]) -> JobRecord:
    """Start a job. Members of `body` that are None are left out, so that the server's defaults hold."""
    given = {name: value for name, value in body.items() if value is not None}
    return parse_job(api.post(path, given).get("job"))


def follow_job(api: Api, screen: Screen, job_id: str, title: str) -> JobRecord:
    """Show a job's progress until it ends, and return its last record.

    Ctrl-C ends the watching and not the job; it says how to go on.
    """
    with ProgressDisplay(screen, title) as progress:
        try:
            return follow(api, job_id, progress.show_job)
        except KeyboardInterrupt:
            screen.note(
                f"the job goes on; watch it with `vitrine jobs {job_id} --follow`, "
                f"end it with `vitrine jobs {job_id} --cancel`"
            )
            raise
