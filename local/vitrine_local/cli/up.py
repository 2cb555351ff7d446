"""`vitrine up`: every service on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from vitrine.errors import ReleaseCorrupt
from vitrine_local.bundled import install_bundled_release
from vitrine_local.cli.options import Commands, whole_number
from vitrine_local.cli.screen import Screen
from vitrine_local.cli.target import DEFAULT_DATA
from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import DataFolderUnusable, UsageInvalid
from vitrine_local.supervisor import LocalSystem, SystemOptions
from vitrine_local.supervisor.console import SteadyConsole

DEFAULT_PORT = 8000
LOG_LEVELS = ("debug", "info", "warning", "error")
_MAX_PORT = 65_535


def add_to(commands: Commands) -> None:
    parser = commands.add("up", run, "start every service on this machine and keep it running until Ctrl-C")
    parser.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="everything is stored here (default: .vitrine)"
    )
    parser.add_argument(
        "--port",
        type=whole_number(at_least=0),
        default=DEFAULT_PORT,
        help="port of the search API, 0 for any free one (default: 8000)",
    )
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="least level shown (default: info)")


def run(arguments: argparse.Namespace, _screen: Screen) -> int:
    """Returns 0 when it was told to stop.

    Raises DataFolderInUse, DataFolderUnusable, PortTaken, RedisMissing and ServiceFailed.
    """
    if arguments.port > _MAX_PORT:
        raise UsageInvalid(f"--port takes a number up to {_MAX_PORT}, not {arguments.port}")
    console = SteadyConsole(highlight=False)

    async def stay(url: str) -> None:
        console.print(f"ready: {url}", soft_wrap=True)
        console.print(f"search with your browser: {url}/", soft_wrap=True)
        await asyncio.Event().wait()

    data = DataFolder.at(arguments.data)
    data.create()
    try:
        install_bundled_release(data)
    except (DataFolderUnusable, ReleaseCorrupt) as error:  # what was there before can be served all the same
        console.print(f"warning: {error.detail}", soft_wrap=True)
    options = SystemOptions(data, port=arguments.port, log_level=arguments.log_level)
    asyncio.run(LocalSystem(options, console=console).run(stay))
    return 0
