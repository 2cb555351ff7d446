"""`vitrine index`: a catalogue's pictures become searchable."""

from __future__ import annotations

import argparse

from vitrine_local.cli.api import Api
from vitrine_local.cli.job_report import must_have_succeeded, report_job
from vitrine_local.cli.job_run import follow_job, start_job
from vitrine_local.cli.options import (
    Commands,
    add_catalog,
    add_json,
    add_model,
    add_target,
    catalog_root,
    model_name,
    reader_of,
    target_of,
)
from vitrine_local.cli.screen import Screen


def add_to(commands: Commands) -> None:
    parser = commands.add("index", run, "index a catalogue with a release, then let that release serve")
    add_catalog(parser)
    add_model(parser)
    parser.add_argument("--release", metavar="ID", help="the release (default: the model's newest)")
    parser.add_argument("--no-wait", action="store_true", help="start the job, print its id and leave")
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the catalogue is indexed (with --no-wait: when the job is queued). Raises CommandFailed."""
    target = target_of(arguments)
    body = {
        "dataset": arguments.dataset,
        "reader": reader_of(arguments.dataset, arguments.reader),
        "root": catalog_root(target, arguments.root),
        "model": model_name(arguments.model),
        "release_id": arguments.release,
        "limit": arguments.limit,
    }
    with Api(target) as api:
        record = start_job(api, "/api/jobs/index", body)
        if not arguments.no_wait:
            screen.note(f"job {record.id}: indexing {arguments.dataset} with {record.params.get('release_id')}")
            record = follow_job(api, screen, record.id, "index")
    if arguments.json:
        screen.json(record.model_dump(mode="json"))
    elif arguments.no_wait:
        screen.say(record.id)
    else:
        report_job(screen, record)
    if not arguments.no_wait:
        must_have_succeeded(record, f"indexing {arguments.dataset}")
    return 0
