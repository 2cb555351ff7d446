"""`vitrine release`: make a release, list them, and let one serve."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from vitrine_local.cli.api import Api, Json
from vitrine_local.cli.catalogs import named_catalog
from vitrine_local.cli.job_report import report_job
from vitrine_local.cli.job_run import run_job
from vitrine_local.cli.options import (
    Commands,
    add_catalog,
    add_json,
    add_model,
    add_target,
    assignments,
    option_value,
    target_of,
    weights_path,
    whole_number,
)
from vitrine_local.cli.screen import Column, Screen
from vitrine_local.errors import CommandFailed


def add_to(commands: Commands) -> None:
    level = commands.add_level("release", "make releases, list them, choose the one that serves")
    create = level.add(
        "create", run_create, "make a release: a network, its weights, a projection fitted on a catalogue"
    )
    add_model(create, help_text="a model of the table, or any other of timm's as timm:NAME")
    create.add_argument(
        "--weights",
        default="pretrained",
        metavar="FILE|seed:N|pretrained",
        help="a safetensors file, random ones from a seed, or those timm downloads (default: pretrained)",
    )
    create.add_argument(
        "--weights-trained-on",
        metavar="TEXT",
        help="what the weights of a file were trained on, e.g. ImageNet; evaluations call it unknown otherwise",
    )
    create.add_argument("--subset", metavar="NAME", help="a named selection of the catalogue, e.g. fashion-22")
    create.add_argument("--label", metavar="ATTRIBUTE", help="what the split is stratified by (default: articleType)")
    create.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the architecture that the weights need, e.g. pad_type=same; may be repeated",
    )
    add_catalog(create)
    create.add_argument(
        "--components",
        type=whole_number(at_least=1),
        default=128,
        metavar="N",
        help="components of a vector (default: 128)",
    )
    create.add_argument("--no-whiten", action="store_true", help="project without whitening")
    create.add_argument(
        "--seed",
        type=whole_number(at_least=0),
        default=0,
        metavar="N",
        help="seed of the split, the sample and the PCA (default: 0)",
    )
    create.add_argument("--no-wait", action="store_true", help="start the job, print its id and leave")
    add_json(create)
    add_target(create)
    for name, run, help_text in (
        ("list", run_list, "list the releases and where each is indexed"),
        ("show", run_show, "show one release"),
        ("activate", run_activate, "let an indexed release serve its model"),
    ):
        parser = level.add(name, run, help_text)
        if name != "list":
            parser.add_argument("id", metavar="ID", help="the release")
        if name == "activate":
            parser.add_argument(
                "--dataset", metavar="NAME", help="the dataset (default: the only one it is indexed for)"
            )
            parser.add_argument(
                "--collection", metavar="NAME", help="one of its collections there (default: the newest that is ready)"
            )
        add_json(parser)
        add_target(parser)


def run_create(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the release is stored (with --no-wait: when the job is queued). Raises CommandFailed."""
    target = target_of(arguments)
    body = {
        **named_catalog(arguments, target),
        "model": arguments.model,
        "weights": weights_path(target, arguments.weights),
        "weights_trained_on": arguments.weights_trained_on,
        "data": {name: getattr(arguments, name) for name in ("subset", "label") if getattr(arguments, name)},
        "options": {name: option_value(value) for name, value in assignments("--option", arguments.option)},
        "components": arguments.components,
        "whiten": not arguments.no_whiten,
        "seed": arguments.seed,
    }
    doing = f"making a release of {arguments.model}"
    record = run_job(
        arguments, screen, target, "/api/jobs/project", body, doing=doing, title="release", report=report_job
    )
    if record is not None:
        screen.say(f"release: {(record.result or {}).get('release_id')}")
    return 0


def run_list(arguments: argparse.Namespace, screen: Screen) -> int:
    with Api(target_of(arguments)) as api:
        answer = api.get("/api/releases")
    if arguments.json:
        screen.json(answer)
    elif not answer["releases"]:
        screen.say("there are no releases yet: make one with `vitrine release create`")
    else:
        screen.table(
            [Column("release"), Column("model"), Column("components", right=True), Column("indexed")],
            [
                (item["id"], item["model"], item["dim"], ", ".join(_collection(found) for found in item["collections"]))
                for item in answer["releases"]
            ],
        )
    return 0


def run_show(arguments: argparse.Namespace, screen: Screen) -> int:
    """Raises CommandFailed where there is no such release."""
    with Api(target_of(arguments)) as api:
        answer = api.get("/api/releases")
    release = _find(answer["releases"], arguments.id)
    if arguments.json:
        screen.json(release)
        return 0
    screen.say(f"release      {release['id']}")
    screen.say(f"model        {release['model']}")
    screen.say(
        f"components   {release['dim'] if release['dim'] is not None else 'unknown: its manifest cannot be read'}"
    )
    screen.say(f"stored       {'yes' if release['stored'] else 'no: it is indexed, but its files are gone'}")
    for collection in release["collections"]:
        screen.say(f"indexed      {_collection(collection)}")
    return 0


def run_activate(arguments: argparse.Namespace, screen: Screen) -> int:
    named = {"dataset": arguments.dataset, "collection": arguments.collection}
    parameters = {name: value for name, value in named.items() if value}
    with Api(target_of(arguments)) as api:
        answer = api.post(f"/api/releases/{arguments.id}/activate", {}, **parameters)
    if arguments.json:
        screen.json(answer)
        return 0
    screen.say(f"{answer['release']} serves {answer['model']} in {answer['dataset']}")
    if answer["previousCollection"] and answer["previousCollection"] != answer["collection"]:
        back = (
            f"vitrine release activate {answer['previous']} --dataset {answer['dataset']} "
            f"--collection {answer['previousCollection']}"
        )
        screen.note(f"to go back: `{back}`")
    return 0


def _find(releases: list[Json], release_id: str) -> Json:
    for release in releases:
        if release["id"] == release_id:
            return release
    raise CommandFailed(f"there is no release {release_id!r}; `vitrine release list` lists them")


def _collection(collection: Mapping[str, Any]) -> str:
    state = "serving" if collection["serving"] else collection["state"]
    return f"{collection['dataset']} ({collection['products']:,} products, {state})"
