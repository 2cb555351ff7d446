"""`vitrine evaluate` and `visualize`: how good releases are, and a map of a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vitrine.errors import ParameterInvalid
from vitrine.evaluation.plan import EvaluationPlan, Protocol, parse_plan, read_plan_file
from vitrine.jobs import JobKind
from vitrine.jobs.params.evaluation import EvaluateParams, VisualizeParams
from vitrine_local.cli.api import Target, find_target
from vitrine_local.cli.following import job_params, run_job
from vitrine_local.cli.jobs import report_fault_counts
from vitrine_local.cli.options import (
    AsJson,
    Columns,
    Data,
    Dataset,
    Limit,
    NoWait,
    Reader,
    Release,
    Root,
    Subset,
    Url,
    mapping_of,
    screen_of,
)
from vitrine_local.cli.output import Column, Screen
from vitrine_local.cli.paths import catalog_of, catalog_of_file, second_catalog
from vitrine_local.cli.releases import find_release
from vitrine_local.errors import UsageInvalid


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
    columns: Columns = None,
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
        **catalog_of_file(
            target,
            catalog,
            file="plan",
            dataset=dataset,
            reader=reader,
            root=root,
            limit=limit,
            columns=mapping_of(columns),
        ),
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
    columns: Columns = None,
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
        **catalog_of(target, dataset, reader, root, limit=limit, columns=mapping_of(columns)),
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
    if not content.get("releases"):
        raise UsageInvalid("name one or more releases, or a plan that does (--plan)")
    content |= {name: value for name, value in changes.items() if value is not None}
    data |= {name: value for name, value in rules.items() if value is not None}
    return parse_plan(content), catalog


def _show_lines(screen: Screen, result: dict[str, Any], measures: tuple[str, ...]) -> None:
    heads = ("release", "gallery", "way", "strict")
    columns = [*(Column(name) for name in heads), *(Column(name, right=True) for name in measures)]
    rows = [(*(line[name] for name in heads), *(figure(line[name]) for name in measures)) for line in result["lines"]]
    screen.table(columns, rows)
    for release_id, verdict in result["strictness"].items():
        counted = f"fitted on {verdict['fitted_on']:,} and chosen on {verdict['chosen_on']:,} of {verdict['tested']:,}"
        reasons = "; ".join((f"{counted} tested products", *verdict["why"]))
        screen.say(f"strict? {release_id}: {verdict['strict']}: {reasons}")
    screen.say(f"{result['queries']:,} queries; report: {result['report']}")


def figure(value: float | None) -> str:
    """A measure with three decimals, `-` if it is missing."""
    return "-" if value is None else f"{value:.3f}"
