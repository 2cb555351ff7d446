"""`vitrine status`: which parts of the system are up, and what is indexed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from vitrine_local.cli.api import Api
from vitrine_local.cli.options import Commands, add_json, add_target, target_of
from vitrine_local.cli.screen import Column, Screen
from vitrine_local.errors import CommandFailed


def add_to(commands: Commands) -> None:
    parser = commands.add("status", run, "say which services are up and what is indexed; fails where one is down")
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 where every service is up; raises CommandFailed naming those that are not."""
    with Api(target_of(arguments)) as api:
        answer = api.get("/api/status")
    if arguments.json:
        screen.json(answer)
    else:
        screen.say(f"search API: {api.target.url}")
        services: Mapping[str, Mapping[str, Any]] = answer["services"]
        screen.table(
            [Column("service"), Column("state"), Column("notes")],
            [(name, "up" if facts["up"] else "DOWN", _notes(facts)) for name, facts in services.items()],
        )
        screen.say()
        _show_datasets(screen, answer["datasets"])
    down = [name for name, facts in answer["services"].items() if not facts["up"]]
    if down:
        raise CommandFailed(f"not every service is up: {', '.join(down)}; see the log of `vitrine up`")
    return 0


def _show_datasets(screen: Screen, datasets: list[Mapping[str, Any]]) -> None:
    if not datasets:
        screen.say("nothing is indexed yet: make a release (`vitrine release create`), then `vitrine index`")
        return
    screen.table(
        [Column("dataset"), Column("model"), Column("release"), Column("products", right=True)],
        [
            (dataset["dataset"], model["model"], model["release"], f"{model['products']:,}")
            for dataset in datasets
            for model in dataset["models"]
        ],
    )


def _notes(facts: Mapping[str, Any]) -> str:
    return ", ".join(_facts(facts))


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    if not facts["up"]:
        yield str(facts.get("reason", "none has announced itself"))
    if "collections" in facts:
        yield f"{facts['collections']} collections"
    if "version" in facts:
        yield f"version {facts['version']}"
    yield from map(str, facts.get("notices", ()))
    if facts.get("workers"):
        yield f"{len(facts['workers'])} running"
    ready = facts.get("ready")
    if isinstance(ready, Mapping):
        yield from (f"{name} {value}" for name, value in ready.items() if isinstance(value, str | int | float))
