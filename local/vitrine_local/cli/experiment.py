"""`vitrine experiment`: releases made, measured and held against published figures, by one command each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrine.experiments import Experiment, read_experiment
from vitrine.jobs import JobRecord
from vitrine_local.cli.catalogs import catalog_of, named_catalog
from vitrine_local.cli.job_report import report_fault_counts
from vitrine_local.cli.job_run import run_job
from vitrine_local.cli.options import (
    Commands,
    add_json,
    add_limit,
    add_target,
    option_value,
    target_of,
    weights_path,
)
from vitrine_local.cli.screen import Column, Screen
from vitrine_local.cli.target import Target
from vitrine_local.errors import UsageInvalid

FOLDER = Path("experiments")
_MEAN, _HITS = "average_precision", "precision@15"


def add_to(commands: Commands) -> None:
    level = commands.add_level("experiment", "make and measure releases as an experiment's file says")
    listing = level.add("list", run_list, f"list the experiments of ./{FOLDER}")
    add_json(listing)
    parser = level.add("run", run, "run an experiment; what was made before is not made again")
    parser.add_argument("experiment", metavar="N|FILE.toml", help=f"its number, of those in ./{FOLDER}, or its file")
    parser.add_argument("--dataset", default="fashion-product", metavar="NAME", help="the catalogue that is searched")
    parser.add_argument("--reader", help="how its folder is laid out")
    parser.add_argument("--root", type=Path, required=True, metavar="PATH", help="its folder")
    add_limit(parser)
    parser.add_argument(
        "--deepfashion-dataset", default="deepfashion-category", metavar="NAME",
        help="DeepFashion, or photographs of the same kinds in its place",
    )  # fmt: skip
    parser.add_argument("--deepfashion-reader", metavar="READER", help="how its folder is laid out")
    parser.add_argument("--deepfashion-root", type=Path, metavar="PATH", help="its folder")
    parser.add_argument(
        "--weights", action="append", default=[], metavar="MODEL=FILE[,OPTION=VALUE...]",
        help="a network's weights, and options of its architecture and input; trained_on=TEXT says what they were "
        "trained on; may be repeated",
    )  # fmt: skip
    parser.add_argument("--download", action="store_true", help="let timm download the weights that are not given")
    parser.add_argument("--no-wait", action="store_true", help="start the job, print its id and leave")
    add_json(parser)
    add_target(parser)


def run_list(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0. Raises ParameterInvalid for a file that is no experiment."""
    found = [(path, read_experiment(path)) for path in sorted(FOLDER.glob("*.toml"))]
    if arguments.json:
        screen.json([{"number": one.number, "title": one.title, "file": str(path)} for path, one in found])
    elif not found:
        screen.say(f"there is no experiment in {FOLDER.absolute()}")
    else:
        screen.table(
            [Column("number", right=True), Column("title"), Column("releases", right=True), Column("file")],
            [(one.number, one.title, len(one.releases), path) for path, one in found],
        )
    return 0


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the report is written (with --no-wait: when the job is queued).

    Raises ParameterInvalid for an experiment that is none, CommandFailed where the job does not succeed.
    """
    experiment = _experiment(arguments.experiment)
    target = target_of(arguments)
    deepfashion = None
    if arguments.deepfashion_root is not None:
        deepfashion = catalog_of(
            target, arguments.deepfashion_dataset, arguments.deepfashion_reader, arguments.deepfashion_root
        )
    body = {
        "experiment": experiment.model_dump(mode="json"),
        "catalogue": named_catalog(arguments, target),
        "deepfashion": deepfashion,
        "weights": dict(_weights(target, text) for text in arguments.weights),
        "download": arguments.download,
    }
    record = run_job(
        arguments,
        screen,
        target,
        "/api/jobs/experiment",
        body,
        doing=f"experiment {experiment.number}",
        title="experiment",
        report=report_fault_counts,
    )
    if record is not None:
        _show(screen, record)
    return 0


def _experiment(named: str) -> Experiment:
    if not named.isdigit():
        return read_experiment(Path(named))
    found = sorted(FOLDER.glob(f"{int(named)}-*.toml"))
    if not found:
        raise UsageInvalid(f"there is no experiment {named} in {FOLDER.absolute()}; name its file")
    return read_experiment(found[0])


def _weights(target: Target, text: str) -> tuple[str, dict[str, Any]]:
    """`MODEL=FILE,pad_type=same` as the model's name, and its weights and options."""
    model, equals, rest = text.partition("=")
    file, *pairs = rest.split(",")
    options = [pair.partition("=") for pair in pairs]
    if not model or not equals or not file or any(not name or not sign for name, sign, _ in options):
        raise UsageInvalid(f"--weights takes MODEL=FILE[,OPTION=VALUE...], not {text!r}")
    chosen = {name: option_value(value) for name, _, value in options if name != "trained_on"}
    stated = next((value for name, _, value in options if name == "trained_on"), None)
    return model, {"weights": weights_path(target, file), "options": chosen, "trained_on": stated}


def _show(screen: Screen, record: JobRecord) -> None:
    result = record.result or {}
    heads = ["evaluation", "release", "gallery", "way", "strict"]
    figures = ["mAP", "P@15", "published mAP", "published P@15"]
    rows = []
    for row in result["rows"]:
        published = row["published"] or {}
        ours = [_figure((row["ours"][name] or {}).get("mean")) for name in (_MEAN, _HITS)]
        known = [_figure(published.get(name)) for name in (_MEAN, _HITS)]
        rows.append((*(row[head] or "" for head in heads), *ours, *known))
    screen.table([*(Column(head) for head in heads), *(Column(name, right=True) for name in figures)], rows)
    for name, why in result["missing"].items():
        screen.say(f"not made: {name}: {why}")
    screen.say(f"report: {result['report']}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
