"""`vitrine dataset`: list the datasets, or drop one."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from vitrine_local.cli.api import Api, Json
from vitrine_local.cli.options import Commands, add_json, add_target, target_of
from vitrine_local.cli.screen import Column, Screen, count
from vitrine_local.errors import CommandFailed, UsageInvalid


def add_to(commands: Commands) -> None:
    level = commands.add_level("dataset", "list the datasets, or drop one")
    listing = level.add("list", run_list, "list the datasets with what serves them")
    add_json(listing)
    add_target(listing)
    drop = level.add("drop", run_drop, "stop serving a dataset and remove its collections")
    drop.add_argument("name", metavar="NAME", help="the dataset")
    drop.add_argument("--yes", action="store_true", help="do it; without it, only what would go is shown")
    drop.add_argument(
        "--uploads", action="store_true", help="remove the products put through the API too (default: kept)"
    )
    add_json(drop)
    add_target(drop)


def run_list(arguments: argparse.Namespace, screen: Screen) -> int:
    with Api(target_of(arguments)) as api:
        answer = api.get("/api/datasets")
    if arguments.json:
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
    return 0


def run_drop(arguments: argparse.Namespace, screen: Screen) -> int:
    """Raises UsageInvalid without --yes, saying what would go, and CommandFailed where the server refuses."""
    with Api(target_of(arguments)) as api:
        found = _find(api.get("/api/datasets")["datasets"], arguments.name)
        if not arguments.yes:
            raise UsageInvalid(f"this would drop {_summary(found, uploads=arguments.uploads)}; add --yes to do it")
        query = "?uploads=true" if arguments.uploads else ""
        answer = api.delete(f"/api/datasets/{quote(arguments.name, safe='')}{query}")
    if arguments.json:
        screen.json(answer)
    else:
        screen.say(f"dropped {_summary(found, uploads=arguments.uploads)}")
    return 0


def _find(datasets: list[Json], name: str) -> Json:
    for dataset in datasets:
        if dataset["dataset"] == name:
            return dataset
    raise CommandFailed(f"there is no dataset {name!r}; `vitrine dataset list` lists them")


def _summary(dataset: Json, *, uploads: bool) -> str:
    products = sum(model["products"] for model in dataset["models"])
    kept = count(dataset["uploaded"], "upload") + (" too" if uploads else " kept")
    collections = count(len(dataset["collections"]), "collection")
    return f"{dataset['dataset']}: {collections} with {count(products, 'product')} serving, {kept}"


def _rows(dataset: Json) -> list[tuple[Any, ...]]:
    uploads = (f"{dataset['uploaded']:,}", f"{dataset['deleted']:,}")
    if not dataset["models"]:
        state = "being built" if dataset["collections"] else "not indexed"
        return [(dataset["dataset"], state, "", "", *uploads)]
    return [
        (dataset["dataset"], model["model"], model["release"], f"{model['products']:,}", *uploads)
        for model in dataset["models"]
    ]
