"""`vitrine catalog report`: the health of an indexed catalogue."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.evaluation import HealthParams
from vitrine_local.cli.api import find_target
from vitrine_local.cli.following import job_params, run_job
from vitrine_local.cli.options import AsJson, Data, Dataset, NoWait, Url, model_name, screen_of
from vitrine_local.cli.output import Column, Screen, count

_IDS: Final = 6


def report(
    context: typer.Context,
    dataset: Dataset,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model; by default the only one that serves the dataset.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="ATTRIBUTE", help="The attribute compared with the pictures; by default articleType."),
    ] = None,
    most: Annotated[int | None, typer.Option(metavar="N", help="Most entries of each list; by default 200.")] = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises CommandFailed if the job does not succeed."""
    screen, target = screen_of(context), find_target(url, data)
    params = job_params(
        HealthParams, dataset=dataset, model=None if model is None else model_name(model), label=label, most=most
    )
    record = run_job(
        screen,
        target,
        JobKind.HEALTH,
        params,
        no_wait=no_wait,
        as_json=as_json,
        doing=f"the health report of {dataset}",
        title="report",
        report=_notes,
    )
    if record is not None and record.result is not None:
        _show(screen, record.result, f"{target.url}/models/health/{record.id}")


def _notes(screen: Screen, record: JobRecord) -> None:
    for note in record.notes:
        screen.note(note.text)


def _show(screen: Screen, result: dict[str, Any], page: str) -> None:
    """The counts, and the first few of each kind."""
    first = result["first"]
    screen.say(f"{count(result['products'], 'product')} in {result['seconds']:,} s")
    screen.say()
    screen.say(f"labels that look wrong: {result['suspected_labels']:,}")
    if first["labels"]:
        screen.table(
            [Column("  product"), Column("label"), Column("looks like"), Column("suspicion", right=True)],
            [(f"  {one['id']}", one["given"], one["suggested"], f"{one['confidence']:.0%}") for one in first["labels"]],
        )
    groups, products = result["duplicate_groups"], result["duplicate_products"]
    screen.say(f"the same picture, or nearly: {count(groups, 'group')} of {count(products, 'product')}")
    for one in first["duplicates"]:
        screen.say(f"  {one['kind']}: {_listed(one['ids'])}")
    far = f": {_listed(first['outliers'])}" if first["outliers"] else ""
    screen.say(f"unlike all others: {result['outliers']:,}{far}")
    screen.say(f"blank or greyscale pictures: {result['odd_pictures']:,}")
    screen.say(f"values with several spellings: {result['spelling_twins']:,}")
    for one in first["twins"]:
        others = ", ".join(map(repr, one["others"][:_IDS]))
        screen.say(f"  {one['attribute']}: {others} is {one['suggested']!r} elsewhere")
    empty = ", ".join(f"{one['name']} {one['share']:.1%}" for one in first["attributes"])
    screen.say(f"empty values: {result['empty_values']:,}" + (f" ({empty})" if empty else ""))
    screen.say()
    screen.say(f"report: {page}")
    screen.say(f"file: {result['report']}")


def _listed(ids: list[Any]) -> str:
    more = len(ids) - _IDS
    return ", ".join(map(str, ids[:_IDS])) + (f" and {more} more" if more > 0 else "")
