"""`vitrine status`: which parts of the system are up, and what is indexed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Final

from vitrine_local.cli.api import Api
from vitrine_local.cli.options import Commands, add_json, add_target, target_of
from vitrine_local.cli.screen import Column, Screen
from vitrine_local.cli.target import Target
from vitrine_local.data_folder import ServiceRecord
from vitrine_local.errors import CommandFailed, ServerUnreachable

SEARCH_API: Final = "search-api"


def add_to(commands: Commands) -> None:
    parser = commands.add("status", run, "say which services are up and what is indexed; fails where one is down")
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 where every service is up; raises CommandFailed naming those that are not."""
    target = target_of(arguments)
    supervised = _supervised(target)
    try:
        with Api(target) as api:
            answer = api.get("/api/status")
    except ServerUnreachable:
        if not supervised:
            raise
        answer = {"success": False, "services": {SEARCH_API: {"up": False, "reason": "does not answer"}}}
    if supervised:
        answer["supervisor"] = {name: record.model_dump() for name, record in supervised.items()}
    services: Mapping[str, Mapping[str, Any]] = answer["services"]
    names = tuple(dict.fromkeys((*services, *supervised)))
    down = [name for name in names if not _is_up(name, services, supervised)]
    if arguments.json:
        screen.json(answer)
    else:
        screen.say(f"search API: {target.url}")
        screen.table(
            [Column("service"), Column("state"), Column("notes")],
            [
                (name, "DOWN" if name in down else "up", _notes(services.get(name, {"up": True}), supervised.get(name)))
                for name in names
            ],
        )
        screen.say()
        if "datasets" in answer:
            _show_datasets(screen, answer["datasets"])
    if down:
        raise CommandFailed(f"not every service is up: {', '.join(down)}; see the log of `vitrine up`")
    return 0


def _supervised(target: Target) -> Mapping[str, ServiceRecord]:
    """What the supervisor of the local system says of each service; nothing for a system elsewhere."""
    run = target.local.read_run() if target.local is not None else None
    return run.services if run is not None else {}


def _is_up(
    name: str, services: Mapping[str, Mapping[str, Any]], supervised: Mapping[str, ServiceRecord]
) -> bool:  # fmt: skip
    record = supervised.get(name)
    return bool(services.get(name, {"up": True})["up"]) and not (record and record.in_trouble)


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


def _notes(facts: Mapping[str, Any], record: ServiceRecord | None) -> str:
    return ", ".join((*_trouble(record), *_facts(facts)))


def _trouble(record: ServiceRecord | None) -> Iterator[str]:
    if record is not None and record.in_trouble:
        times = "time" if record.deaths == 1 else "times"
        died = f", died {record.deaths} {times}" if record.deaths else ""
        yield f"{record.state} since {record.since} ({record.reason}{died})"


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
