"""`vitrine experiment`: make and measure the releases of an experiment, or list the experiments of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vitrine.experiments import Experiment, read_experiment
from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.evaluation import ExperimentParams
from vitrine_local.cli.api import Target, find_target
from vitrine_local.cli.evaluation import figure
from vitrine_local.cli.following import job_params, run_job
from vitrine_local.cli.jobs import report_fault_counts
from vitrine_local.cli.options import (
    AsJson,
    Columns,
    Data,
    Limit,
    NoWait,
    Reader,
    Root,
    Url,
    mapping_of,
    option_value,
    screen_of,
)
from vitrine_local.cli.output import Column, Screen
from vitrine_local.cli.paths import catalog_of, weights_path
from vitrine_local.errors import UsageInvalid

FOLDER: Final = Path("experiments")
_MEAN, _HITS = "average_precision", "precision@15"

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command("list", help=f"List the experiments in ./{FOLDER}.")
def list_experiments(context: typer.Context, as_json: AsJson = False) -> None:
    """Raises ParameterInvalid for a file that is not valid."""
    screen = screen_of(context)
    found = [(path, read_experiment(path)) for path in sorted(FOLDER.glob("*.toml"))]
    if as_json:
        screen.json([{"number": one.number, "title": one.title, "file": str(path)} for path, one in found])
    elif not found:
        screen.say(f"there is no experiment in {FOLDER.absolute()}")
    else:
        screen.table(
            [Column("number", right=True), Column("title"), Column("releases", right=True), Column("file")],
            [(one.number, one.title, len(one.releases), path) for path, one in found],
        )


@app.command("run", help="Run an experiment. What was made before is not made again.")
def run_experiment(
    context: typer.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="N|FILE.toml", help=f"The number of an experiment in ./{FOLDER}, or a file.")
    ],
    root: Root,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The catalogue that is searched.")] = "fashion-product",
    reader: Reader = None,
    columns: Columns = None,
    limit: Limit = None,
    deepfashion_dataset: Annotated[
        str, typer.Option(metavar="NAME", help="DeepFashion, or photographs of the same kinds in its place.")
    ] = "deepfashion-category",
    deepfashion_root: Annotated[Path | None, typer.Option(metavar="PATH", help="Its folder.")] = None,
    deepfashion_reader: Annotated[str | None, typer.Option(metavar="READER", help="How it is laid out.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=FILE[,OPTION=VALUE...]",
            help="The weights of a network, and options of its architecture and input; trained_on=TEXT names what "
            "they were trained on. May be repeated.",
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Let timm download the weights that are not given.")
    ] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises ParameterInvalid for an experiment that is not valid, and CommandFailed if the job does not succeed."""
    screen, made, target = screen_of(context), _find_experiment(experiment), find_target(url, data)
    deepfashion = None
    if deepfashion_root is not None:
        deepfashion = catalog_of(target, deepfashion_dataset, deepfashion_reader, deepfashion_root)
    params = job_params(
        ExperimentParams,
        experiment=made.model_dump(mode="json"),
        catalogue=catalog_of(target, dataset, reader, root, limit=limit, columns=mapping_of(columns)),
        deepfashion=deepfashion,
        weights=dict(_weights(target, text) for text in weights or ()),
        download=download,
    )
    record = run_job(
        screen,
        target,
        JobKind.EXPERIMENT,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"experiment {made.number}",
        title="experiment",
        report=report_fault_counts,
    )
    if record is not None:
        _show(screen, record)


def _find_experiment(named: str) -> Experiment:
    if not named.isdigit():
        return read_experiment(Path(named))
    found = sorted(FOLDER.glob(f"{int(named)}-*.toml"))
    if not found:
        raise UsageInvalid(f"there is no experiment {named} in {FOLDER.absolute()}; name its file")
    return read_experiment(found[0])


def _weights(target: Target, text: str) -> tuple[str, dict[str, Any]]:
    """`MODEL=FILE,pad_type=same` as the name of the model, and its weights and options."""
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
        ours = [figure((row["ours"][name] or {}).get("mean")) for name in (_MEAN, _HITS)]
        known = [figure(published.get(name)) for name in (_MEAN, _HITS)]
        rows.append((*(row[head] or "" for head in heads), *ours, *known))
    screen.table([*(Column(head) for head in heads), *(Column(name, right=True) for name in figures)], rows)
    for name, why in result["missing"].items():
        screen.say(f"not made: {name}: {why}")
    screen.say(f"report: {result['report']}")
