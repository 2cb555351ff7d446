"""`vitrine dataset` and `vitrine product`: list and drop datasets, restore and list deleted products."""

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


@datasets.command("drop", help="Stop serving a dataset and remove its collections.")
def drop_dataset(
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
            raise UsageInvalid(f"this would drop {_summary(found, uploads=uploads)}; add --yes to do it")
        query = "?uploads=true" if uploads else ""
        answer = api.delete(f"/api/datasets/{quote(name, safe='')}{query}")
    if as_json:
        screen.json(answer)
    else:
        screen.say(f"dropped {_summary(found, uploads=uploads)}")


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
