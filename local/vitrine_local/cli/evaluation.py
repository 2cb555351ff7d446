"""`vitrine evaluate`, `visualize` and `experiment`: how good releases are, and a map of a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vitrine.errors import ParameterInvalid
from vitrine.evaluation.plan import EvaluationPlan, Protocol, parse_plan, read_plan_file
from vitrine.experiments import Experiment, read_experiment
from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.evaluation import EvaluateParams, ExperimentParams, VisualizeParams
from vitrine.qdrant.collections import RELEASE_ID
from vitrine_local.cli.api import Api, Target, find_target
from vitrine_local.cli.following import job_params, run_job
from vitrine_local.cli.jobs import report_fault_counts
from vitrine_local.cli.options import (
    AsJson,
    Data,
    Dataset,
    Limit,
    NoWait,
    Reader,
    Release,
    Root,
    Subset,
    Url,
    model_name,
    option_value,
    screen_of,
)
from vitrine_local.cli.output import Column, Screen
from vitrine_local.cli.paths import catalog_of, catalog_of_file, second_catalog, weights_path
from vitrine_local.errors import UsageInvalid

FOLDER: Final = Path("experiments")
_MEAN, _HITS = "average_precision", "precision@15"

experiments = typer.Typer(rich_markup_mode=None, add_completion=False)


def evaluate(
    context: typer.Context,
    releases: Annotated[
        list[str] | None,
        typer.Argument(metavar="RELEASE", help="Releases, or models for the releases that serve them."),
    ] = None,
    plan: Annotated[Path | None, typer.Option(metavar="PLAN.toml", help="What is measured, and in which ways.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Instead of catalog.dataset of the plan.")] = None,
    reader: Annotated[str | None, typer.Option(metavar="READER", help="Instead of catalog.reader of the plan.")] = None,
    root: Annotated[Path | None, typer.Option(metavar="PATH", help="Instead of catalog.root of the plan.")] = None,
    limit: Limit = None,
    protocol: Annotated[
        Protocol | None, typer.Option(help="Instead of the protocol of the plan, which is strict by default.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of data.subset of the plan, e.g. fashion-22.")
    ] = None,
    relevance: Annotated[
        str | None, typer.Option(metavar="A,B", help="Instead of data.relevance of the plan, separated by commas.")
    ] = None,
    queries: Annotated[int | None, typer.Option(metavar="N", help="Most queries; by default 600.")] = None,
    photographs_dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A catalogue of photographs to use as queries.")
    ] = None,
    photographs_root: Annotated[Path | None, typer.Option(metavar="PATH", help="Its folder.")] = None,
    photographs_reader: Annotated[str | None, typer.Option(metavar="READER", help="How it is laid out.")] = None,
    title: Annotated[str, typer.Option(metavar="TEXT", help="The title of the report.")] = "Evaluation",
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises ParameterInvalid for a plan that is not valid, and CommandFailed if the job does not succeed."""
    screen, target = screen_of(context), find_target(url, data)
    changes = {"protocol": protocol, "queries": queries}
    rules = {"subset": subset, "relevance": None if relevance is None else relevance.split(",")}
    measured, catalog = _plan(plan, target, releases or [], changes, rules)
    params = job_params(
        EvaluateParams,
        **catalog_of_file(target, catalog, file="plan", dataset=dataset, reader=reader, root=root, limit=limit),
        plan=measured.model_dump(mode="json"),
        queries=second_catalog(
            target, "photographs", dataset=photographs_dataset, reader=photographs_reader, root=photographs_root
        ),
        title=title,
    )
    record = run_job(
        screen,
        target,
        JobKind.EVALUATE,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing="the evaluation",
        title="evaluate",
        report=report_fault_counts,
    )
    if record is not None and record.result is not None:
        _show_lines(screen, record.result, measured.measures)


def visualize(
    context: typer.Context,
    release: Release,
    dataset: Dataset,
    root: Root,
    reader: Reader = None,
    limit: Limit = None,
    subset: Subset = None,
    colour: Annotated[str, typer.Option(metavar="ATTRIBUTE", help="The attribute shown by colour.")] = "articleType",
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="tsne|umap", help="How the vectors are laid out; may be repeated. By default both."),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", help="Most pictures.")] = 2000,
    expand: Annotated[int, typer.Option(metavar="N", help="Average each vector with its N nearest.")] = 0,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the job does not succeed."""
    screen, target = screen_of(context), find_target(url, data)
    release_id = find_release(target, release)
    params = job_params(
        VisualizeParams,
        **catalog_of(target, dataset, reader, root, limit=limit),
        release_id=release_id,
        colour=colour,
        methods=method or None,
        count=count,
        expand=expand,
        data={"subset": subset} if subset else {},
    )
    record = run_job(
        screen,
        target,
        JobKind.VISUALIZE,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"the map of {release_id}",
        title="visualize",
        report=report_fault_counts,
    )
    if record is not None and record.result is not None:
        screen.say(f"{record.result['pictures']:,} pictures: {record.result['report']}")


@experiments.command("list", help=f"List the experiments in ./{FOLDER}.")
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


@experiments.command("run", help="Run an experiment. What was made before is not made again.")
def run_experiment(
    context: typer.Context,
    experiment: Annotated[
        str, typer.Argument(metavar="N|FILE.toml", help=f"The number of an experiment in ./{FOLDER}, or a file.")
    ],
    root: Root,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The catalogue that is searched.")] = "fashion-product",
    reader: Reader = None,
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
    screen, made, target = screen_of(context), _experiment(experiment), find_target(url, data)
    deepfashion = None
    if deepfashion_root is not None:
        deepfashion = catalog_of(target, deepfashion_dataset, deepfashion_reader, deepfashion_root)
    params = job_params(
        ExperimentParams,
        experiment=made.model_dump(mode="json"),
        catalogue=catalog_of(target, dataset, reader, root, limit=limit),
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
        _show_experiment(screen, record)


def find_release(target: Target, named: str) -> str:
    """The id of a release, or the release that serves a model. Raises UsageInvalid if no or more than one does."""
    if RELEASE_ID.fullmatch(named):
        return named
    with Api(target) as api:
        details = api.get("/api/models")["details"]
    serving = sorted({detail["release"] for detail in details if detail["model"] == model_name(named)})
    if len(serving) != 1:
        why = "no release serves it" if not serving else f"several serve it: {', '.join(serving)}"
        raise UsageInvalid(f"{named!r} is no release, and as a model {why}; `vitrine release list` lists them")
    return str(serving[0])


def _plan(
    file: Path | None, target: Target, releases: list[str], changes: dict[str, Any], rules: dict[str, Any]
) -> tuple[EvaluationPlan, dict[str, Any]]:
    """The plan of the file with the options of the command line, and the catalogue of the file."""
    content, catalog = ({}, {}) if file is None else read_plan_file(file)
    data = content.setdefault("data", {})
    if not isinstance(data, dict):
        raise ParameterInvalid(f"the plan {file} has a 'data' that is no table")
    if releases:
        content["releases"] = [find_release(target, named) for named in releases]
    content |= {name: value for name, value in changes.items() if value is not None}
    data |= {name: value for name, value in rules.items() if value is not None}
    return parse_plan(content), catalog


def _experiment(named: str) -> Experiment:
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


def _show_lines(screen: Screen, result: dict[str, Any], measures: tuple[str, ...]) -> None:
    heads = ("release", "gallery", "way", "strict")
    columns = [*(Column(name) for name in heads), *(Column(name, right=True) for name in measures)]
    rows = [(*(line[name] for name in heads), *(_figure(line[name]) for name in measures)) for line in result["lines"]]
    screen.table(columns, rows)
    for release_id, verdict in result["strictness"].items():
        counted = f"fitted on {verdict['fitted_on']:,} and chosen on {verdict['chosen_on']:,} of {verdict['tested']:,}"
        reasons = "; ".join((f"{counted} tested products", *verdict["why"]))
        screen.say(f"strict? {release_id}: {verdict['strict']}: {reasons}")
    screen.say(f"{result['queries']:,} queries; report: {result['report']}")


def _show_experiment(screen: Screen, record: JobRecord) -> None:
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
