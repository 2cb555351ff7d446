"""`vitrine dataset` and `vitrine product`: list, show, schedule and delete datasets, and restore deleted products."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from vitrine_local.cli.api import Api, Json, find_target
from vitrine_local.cli.options import AsJson, Data, OneDataset, Url, screen_of
from vitrine_local.cli.output import Column, count
from vitrine_local.errors import CommandFailed, UsageInvalid

datasets = typer.Typer(rich_markup_mode=None, add_completion=False)
products = typer.Typer(rich_markup_mode=None, add_completion=False)


@datasets.command("list", help="List the datasets and what serves them.")
def list_datasets(context: typer.Context, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    screen = screen_of(context)
    with Api(find_target(url, data)) as api:
        answer = api.get("/api/datasets")
    if as_json:
        screen.json(answer)
    elif not answer["datasets"]:
        screen.say("nothing is indexed yet: make a release (`vitrine release create`), then `vitrine index`")
    else:
        screen.table(
            [
                Column("dataset"),
                Column("model"),
                Column("release"),
                Column("products", right=True),
                Column("uploaded", right=True),
                Column("deleted", right=True),
            ],
            [row for dataset in answer["datasets"] for row in _rows(dataset)],
        )


@datasets.command("show", help="Show what serves a dataset, its attributes, its catalogue and its schedules.")
def show_dataset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")],
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    screen = screen_of(context)
    with Api(find_target(url, data)) as api:
        found = api.get(f"/api/datasets/{quote(name, safe='')}")
    if as_json:
        screen.json(found)
        return
    screen.say(f"{found['dataset']}: {count(found['products'], 'product')}, {found['uploaded']:,} put and "
               f"{found['deleted']:,} deleted through the API")  # fmt: skip
    catalogue = found["catalogue"]
    if catalogue is not None:
        screen.say(f"catalogue: {catalogue['root']}, read as {catalogue['reader']}")
        for role, column in catalogue["mapping"].items():
            screen.say(f"  {role} is the column {column!r}")
    for model in found["models"]:
        screen.say(f"model {model['model']}: {model['release']}, {count(model['products'], 'product')}")
    for last in found["indexings"]:
        screen.say(_last_indexing(last))
    for schedule in found["schedules"]:
        screen.say(f"indexed every {schedule['every']} with {schedule['model']}, next at {schedule['nextAt'][:19]} UTC")
    if found["attributes"]:
        screen.table(
            [Column("attribute"), Column("kind"), Column("filtered")],
            [(one["name"], one["kind"], "yes" if one["filterable"] else "no") for one in found["attributes"]],
        )


@datasets.command("schedule", help="Index a dataset again at an interval, or stop doing so.")
def schedule_dataset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")],
    every: Annotated[str | None, typer.Option(metavar="INTERVAL", help="For example 30min, 6h, 1d or 2w.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Remove the schedule.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model; by default the only one that serves the dataset.")
    ] = None,
    allow_removal: Annotated[
        bool,
        typer.Option("--allow-removal", help="Also where more than a fifth of the products would be removed."),
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every picture, also unchanged files.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises UsageInvalid unless one of --every and --off is given."""
    screen = screen_of(context)
    if (every is None) is not off:
        raise UsageInvalid("give --every INTERVAL, or --off")
    path = f"/api/datasets/{quote(name, safe='')}/schedule"
    with Api(find_target(url, data)) as api:
        if every is None:
            answer = api.delete(path + (f"?model={quote(model, safe='')}" if model else ""))
        else:
            body = {"every": every, "model": model, "allowRemoval": allow_removal, "full": full}
            answer = api.put(path, body)
    if as_json:
        screen.json(answer)
    elif every is None:
        screen.say(f"{name} is not indexed by a schedule with {answer['model']} any more")
    else:
        schedule = answer["schedule"]
        screen.say(
            f"{name} is indexed every {schedule['every']} with {schedule['model']}, "
            f"next at {schedule['nextAt'][:19]} UTC"
        )


@datasets.command("drop", hidden=True, help="The same as delete.")
@datasets.command("delete", help="Stop serving a dataset and remove its collections.")
def delete_dataset(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would be removed is shown.")] = False,
    uploads: Annotated[
        bool,
        typer.Option("--uploads", help="Also remove the products added through the API; by default they are kept."),
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Raises UsageInvalid without --yes, and CommandFailed if the server refuses."""
    screen = screen_of(context)
    with Api(find_target(url, data)) as api:
        found = _find(api.get("/api/datasets")["datasets"], name)
        if not yes:
            raise UsageInvalid(f"this would delete {_summary(found, uploads=uploads)}; add --yes to do it")
        query = "?uploads=true" if uploads else ""
        answer = api.delete(f"/api/datasets/{quote(name, safe='')}{query}")
    if as_json:
        screen.json(answer)
    else:
        screen.say(f"deleted {_summary(found, uploads=uploads)}")


@products.command("restore", help="Undo the deletion of a product of the catalogue.")
def restore_product(
    context: typer.Context,
    product_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the product.")],
    dataset: OneDataset = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    """Succeeds if the deletion is undone, even if the product is served only after the next indexing."""
    screen = screen_of(context)
    parameters = {"dataset": dataset} if dataset else {}
    with Api(find_target(url, data)) as api:
        answer = api.post(f"/api/products/{quote(product_id, safe='')}/restore", None, **parameters)
    if as_json:
        screen.json(answer)
    else:
        screen.say(f"{answer['id']} in {answer['dataset']}: {answer['detail']}")


@products.command("deleted", help="List the products that were deleted through the API.")
def list_deleted(
    context: typer.Context,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="List at most N of them.")] = 1_000,
    dataset: OneDataset = None,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    screen = screen_of(context)
    with Api(find_target(url, data)) as api:
        named = dataset or _only_dataset(api)
        answer = api.get(f"/api/datasets/{quote(named, safe='')}/deleted", limit=limit)
    if as_json:
        screen.json(answer)
        return
    for product_id in answer["deleted"]:
        screen.say(str(product_id))
    screen.note(f"{count(answer['total'], 'product')} deleted in {named}")


@datasets.command("deleted", help="List the products of a dataset that were deleted through the API.")
def list_deleted_of(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")],
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="List at most N of them.")] = 1_000,
    as_json: AsJson = False,
    url: Url = None,
    data: Data = None,
) -> None:
    list_deleted(context, limit=limit, dataset=name, as_json=as_json, url=url, data=data)


def _last_indexing(last: Json) -> str:
    counts = last["counts"]
    changed = ", ".join(f"{int(counts[name]):,} {name}" for name in ("added", "changed", "removed") if name in counts)
    when = (last["finishedAt"] or "")[:19]
    how = " by its schedule" if last["scheduled"] else ""
    why = f": {last['error']['detail']}" if last["error"] else f": {changed}" if changed else ""
    return f"last indexed with {last['model']}{how}: {last['state']} at {when} UTC{why} (job {last['job']})"


def _only_dataset(api: Api) -> str:
    names = [dataset["dataset"] for dataset in api.get("/api/datasets")["datasets"]]
    if len(names) != 1:
        raise UsageInvalid(f"name the dataset with --dataset; there are: {', '.join(names) or 'none'}")
    return str(names[0])


def _find(found: list[Json], name: str) -> Json:
    for dataset in found:
        if dataset["dataset"] == name:
            return dataset
    raise CommandFailed(f"there is no dataset {name!r}; `vitrine dataset list` lists them")


def _summary(dataset: Json, *, uploads: bool) -> str:
    served = sum(model["products"] for model in dataset["models"])
    kept = count(dataset["uploaded"], "upload") + (" too" if uploads else " kept")
    collections = count(len(dataset["collections"]), "collection")
    return f"{dataset['dataset']}: {collections} with {count(served, 'product')} serving, {kept}"


def _rows(dataset: Json) -> list[tuple[Any, ...]]:
    uploads = (f"{dataset['uploaded']:,}", f"{dataset['deleted']:,}")
    if not dataset["models"]:
        state = "being built" if dataset["collections"] else "not indexed"
        return [(dataset["dataset"], state, "", "", *uploads)]
    return [
        (dataset["dataset"], model["model"], model["release"], f"{model['products']:,}", *uploads)
        for model in dataset["models"]
    ]
