"""`vitrine up`, which runs every service on this machine, and `vitrine status`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vitrine.errors import ReleaseCorrupt
from vitrine_local.cli.api import DEFAULT_DATA, Api, Target, find_target
from vitrine_local.cli.options import AsJson, Data, Url, screen_of
from vitrine_local.cli.output import Column, Screen
from vitrine_local.data_folder import DataFolder, ServiceRecord
from vitrine_local.errors import CommandFailed, DataFolderUnusable, ServerUnreachable

SEARCH_API: Final = "search-api"
MAX_PORT: Final = 65_535


class LogLevel(StrEnum):
    """The least level of log lines that are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def up(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Everything is stored here.")] = DEFAULT_DATA,
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=MAX_PORT, help="Port of the search API, 0 for any free one.")
    ] = 8000,
    log_level: Annotated[LogLevel, typer.Option(help="The least level of the log lines shown.")] = LogLevel.INFO,
) -> None:
    """Raises DataFolderInUse, DataFolderUnusable, PortTaken, RedisMissing and ServiceFailed."""
    from vitrine_local.bundled import install_bundled_releases
    from vitrine_local.supervisor import LocalSystem, SystemOptions
    from vitrine_local.supervisor.logs import SteadyConsole

    console = SteadyConsole(highlight=False)

    async def stay(url: str) -> None:
        console.print(f"ready: {url}", soft_wrap=True)
        console.print(f"search with your browser: {url}/", soft_wrap=True)
        await asyncio.Event().wait()

    folder = DataFolder.at(data)
    folder.create()
    try:
        install_bundled_releases(folder)
    except (DataFolderUnusable, ReleaseCorrupt) as error:  # the releases that are there can be served all the same
        console.print(f"warning: {error.detail}", soft_wrap=True)
    options = SystemOptions(folder, port=port, log_level=log_level.value)
    asyncio.run(LocalSystem(options, console=console).run(stay))


def status(context: typer.Context, as_json: AsJson = False, url: Url = None, data: Data = None) -> None:
    """Raises CommandFailed, naming the services that are not up."""
    screen, target = screen_of(context), find_target(url, data)
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
    if as_json:
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


def _supervised(target: Target) -> Mapping[str, ServiceRecord]:
    """What the supervisor of the local system reports of each service; nothing for a system elsewhere."""
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
        yield str(facts.get("reason", "no process has reported"))
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
