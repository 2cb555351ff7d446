"""`vitrine index`: a catalogue's pictures become searchable."""

from __future__ import annotations

import argparse

from vitrine_local.cli.catalogs import named_catalog
from vitrine_local.cli.job_report import report_job
from vitrine_local.cli.job_run import run_job
from vitrine_local.cli.options import (
    Commands,
    add_catalog,
    add_json,
    add_model,
    add_target,
    model_name,
    target_of,
)
from vitrine_local.cli.screen import Screen


def add_to(commands: Commands) -> None:
    parser = commands.add("index", run, "index a catalogue with a release, then let that release serve")
    add_catalog(parser)
    add_model(parser)
    parser.add_argument("--release", metavar="ID", help="the release (default: the model's newest)")
    parser.add_argument(
        "--allow-removal",
        action="store_true",
        help="index even where more than a fifth of the products that serve would be removed",
    )
    parser.add_argument("--no-wait", action="store_true", help="start the job, print its id and leave")
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the catalogue is indexed (with --no-wait: when the job is queued). Raises CommandFailed."""
    target = target_of(arguments)
    body = {
        **named_catalog(arguments, target),
        "model": model_name(arguments.model),
        "release_id": arguments.release,
        "allowRemoval": arguments.allow_removal,
    }
    doing = f"indexing {arguments.dataset} with {arguments.release or arguments.model}"
    run_job(arguments, screen, target, "/api/jobs/index", body, doing=doing, title="index", report=report_job)
    return 0
