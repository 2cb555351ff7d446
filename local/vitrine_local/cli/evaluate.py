"""`vitrine evaluate`, `tune` and `visualize`: how good releases are, the projection that serves one best, a map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from vitrine.errors import ParameterInvalid
from vitrine.evaluation.plan import EvaluationPlan, parse_plan, read_plan_file
from vitrine.jobs import JobRecord
from vitrine.qdrant.collections import RELEASE_ID
from vitrine_local.cli.api import Api
from vitrine_local.cli.catalogs import catalog_of_file, named_catalog, other_catalog
from vitrine_local.cli.job_report import report_fault_counts
from vitrine_local.cli.job_run import run_job
from vitrine_local.cli.options import (
    Commands,
    add_catalog,
    add_json,
    add_limit,
    add_target,
    assignments,
    model_name,
    target_of,
    whole_number,
)
from vitrine_local.cli.screen import Column, Screen
from vitrine_local.cli.target import Target
from vitrine_local.errors import UsageInvalid


def add_to(commands: Commands) -> None:
    evaluate = commands.add("evaluate", run_evaluate, "measure how well releases find, and write a report")
    evaluate.add_argument(
        "releases", nargs="*", metavar="RELEASE", help="a release, or a model for the one that serves it"
    )
    evaluate.add_argument("--plan", type=Path, metavar="PLAN.toml", help="what is measured, and in which ways")
    evaluate.add_argument("--dataset", metavar="NAME", help="instead of the plan's catalog.dataset")
    evaluate.add_argument("--reader", help="instead of the plan's catalog.reader")
    evaluate.add_argument("--root", type=Path, metavar="PATH", help="instead of the plan's catalog.root")
    add_limit(evaluate)
    evaluate.add_argument(
        "--protocol", choices=("strict", "reference", "faults"), help="instead of the plan's (strict)"
    )
    evaluate.add_argument("--subset", metavar="NAME", help="instead of the plan's data.subset, e.g. fashion-22")
    evaluate.add_argument("--relevance", metavar="A,B", help="instead of the plan's data.relevance, by commas")
    evaluate.add_argument("--queries", type=whole_number(at_least=1), metavar="N", help="most queries (default: 600)")
    for what in ("dataset", "root", "reader"):
        evaluate.add_argument(
            f"--photographs-{what}", metavar=what.upper(), help="of the catalogue of photographs to ask with"
        )
    evaluate.add_argument("--title", default="Evaluation", help="what the report is called")
    tune = commands.add("tune", run_tune, "choose a release's projection from every number of components")
    tune.add_argument("release", metavar="RELEASE", help="the release whose network it is, or a model it serves")
    tune.add_argument("--name", required=True, help="the model's name of the new release")
    add_catalog(tune)
    tune.add_argument("--subset", metavar="NAME", help="a named selection of the catalogue, e.g. fashion-22")
    tune.add_argument(
        "--objective", action="append", default=[], metavar="MEASURE=WEIGHT",
        help="what is to be best; may be repeated (default: average_precision=1 and precision@15=1)",
    )  # fmt: skip
    tune.add_argument("--label", default=None, help="the attribute that relevant products share (default: articleType)")
    tune.add_argument(
        "--augment", type=whole_number(at_least=0), default=0, metavar="N",
        help="make a second release, NAME_augmented, whose gallery is drawn to N neighbours when it is indexed",
    )  # fmt: skip
    tune.add_argument(
        "--augment-alpha", type=float, default=0.0, metavar="A", help="weigh each of them by its score to this power"
    )
    visualize = commands.add("visualize", run_visualize, "draw a map of a catalogue as a release sees it")
    visualize.add_argument("release", metavar="RELEASE", help="the release, or a model it serves")
    add_catalog(visualize)
    visualize.add_argument("--subset", metavar="NAME", help="a named selection of the catalogue, e.g. fashion-22")
    visualize.add_argument("--colour", default="articleType", metavar="ATTRIBUTE", help="what the colours are")
    visualize.add_argument(
        "--method", action="append", choices=("tsne", "umap"), help="how; may be repeated (default: both)"
    )
    visualize.add_argument("--count", type=whole_number(at_least=8), default=2000, metavar="N", help="most pictures")
    visualize.add_argument(
        "--expand", type=whole_number(at_least=0), default=0, metavar="N", help="average each with its N nearest"
    )
    for parser in (evaluate, tune, visualize):
        parser.add_argument("--no-wait", action="store_true", help="start the job, print its id and leave")
        add_json(parser)
        add_target(parser)


def run_evaluate(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the report is written (with --no-wait: when the job is queued).

    Raises ParameterInvalid for a plan that is none, CommandFailed where the job does not succeed.
    """
    target = target_of(arguments)
    plan, catalog = _plan(arguments, target)
    body = {
        **catalog_of_file(arguments, catalog, target, file="plan"),
        "plan": plan.model_dump(mode="json"),
        "queries": other_catalog(arguments, "photographs", target),
        "title": arguments.title,
    }
    record = run_job(
        arguments,
        screen,
        target,
        "/api/jobs/evaluate",
        body,
        doing="the evaluation",
        title="evaluate",
        report=report_fault_counts,
    )
    if record is not None and record.result is not None:
        _show_lines(screen, record, plan.measures)
    return 0


def run_tune(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns as `run_evaluate` does. Raises CommandFailed where the job does not succeed."""
    target = target_of(arguments)
    body: dict[str, Any] = {
        **named_catalog(arguments, target),
        "release_id": _release(target, arguments.release),
        "name": arguments.name,
        "augment": arguments.augment,
        "augment_alpha": arguments.augment_alpha,
    }
    data = {"subset": arguments.subset} if arguments.subset else {}
    if arguments.label:
        data |= {"label": arguments.label, "relevance": [arguments.label]}
    body["data"] = data
    if arguments.objective:
        body["objective"] = {name: _weight(value) for name, value in assignments("--objective", arguments.objective)}
    doing = f"tuning {arguments.release}"
    record = run_job(
        arguments, screen, target, "/api/jobs/tune", body, doing=doing, title="tune", report=report_fault_counts
    )
    if record is not None and record.result is not None:
        result = record.result
        whitened = "whitened" if result["whiten"] else "not whitened"
        screen.say(
            f"{result['dim']} components, {whitened}, of {result['tried']} tried; "
            f"validation objective {result['validation_objective']:.3f}"
        )
        screen.say(f"release: {result['release_id']}")
        if "augmented_release_id" in result:
            screen.say(f"with an augmented gallery: {result['augmented_release_id']}")
    return 0


def run_visualize(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns as `run_evaluate` does. Raises CommandFailed where the job does not succeed."""
    target = target_of(arguments)
    release_id = _release(target, arguments.release)
    body = {
        **named_catalog(arguments, target),
        "release_id": release_id,
        "colour": arguments.colour,
        "methods": arguments.method or ["tsne", "umap"],
        "count": arguments.count,
        "expand": arguments.expand,
        "data": {"subset": arguments.subset} if arguments.subset else {},
    }
    doing = f"the map of {release_id}"
    record = run_job(
        arguments,
        screen,
        target,
        "/api/jobs/visualize",
        body,
        doing=doing,
        title="visualize",
        report=report_fault_counts,
    )
    if record is not None and record.result is not None:
        screen.say(f"{record.result['pictures']:,} pictures: {record.result['report']}")
    return 0


def _plan(arguments: argparse.Namespace, target: Target) -> tuple[EvaluationPlan, dict[str, Any]]:
    content, catalog = ({}, {}) if arguments.plan is None else read_plan_file(arguments.plan)
    data = content.setdefault("data", {})
    if not isinstance(data, dict):
        raise ParameterInvalid(f"the plan {arguments.plan} has a 'data' that is no table")
    if arguments.releases:
        content["releases"] = [_release(target, named) for named in arguments.releases]
    for name in ("protocol", "queries"):
        if getattr(arguments, name) is not None:
            content[name] = getattr(arguments, name)
    if arguments.subset is not None:
        data["subset"] = arguments.subset
    if arguments.relevance is not None:
        data["relevance"] = arguments.relevance.split(",")
    return parse_plan(content), catalog


def _release(target: Target, named: str) -> str:
    """A release's id as it is; a model's name as the release that serves it. Raises UsageInvalid where none does."""
    if RELEASE_ID.fullmatch(named):
        return named
    with Api(target) as api:
        details = api.get("/api/models")["details"]
    serving = sorted({detail["release"] for detail in details if detail["model"] == model_name(named)})
    if len(serving) != 1:
        why = "no release serves it" if not serving else f"several serve it: {', '.join(serving)}"
        raise UsageInvalid(f"{named!r} is no release, and as a model {why}; `vitrine release list` lists them")
    return str(serving[0])


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageInvalid(f"--objective takes MEASURE=WEIGHT with a number, not {text!r}") from None


def _show_lines(screen: Screen, record: JobRecord, measures: tuple[str, ...]) -> None:
    result = record.result or {}
    heads = ("release", "gallery", "way", "strict")
    columns = [*(Column(name) for name in heads), *(Column(name, right=True) for name in measures)]
    rows = [(*(line[name] for name in heads), *(_figure(line[name]) for name in measures)) for line in result["lines"]]
    screen.table(columns, rows)
    for release_id, verdict in result["strictness"].items():
        counted = f"fitted on {verdict['fitted_on']:,} and chosen on {verdict['chosen_on']:,} of {verdict['tested']:,}"
        reasons = "; ".join((f"{counted} tested products", *verdict["why"]))
        screen.say(f"strict? {release_id}: {verdict['strict']}: {reasons}")
    screen.say(f"{result['queries']:,} queries; report: {result['report']}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
