"""The tree of commands, and the one place where what a command raises becomes a line on standard error and an exit
code. A command is a function of its arguments and the screen; it returns 0 or raises, and prints nothing of errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from vitrine.errors import ParameterInvalid, VitrineError
from vitrine_local.cli import (
    catalog,
    dataset,
    demo,
    evaluate,
    experiment,
    explain,
    index,
    jobs,
    product,
    release,
    search,
    status,
    train,
    up,
)
from vitrine_local.cli.options import Commands
from vitrine_local.cli.screen import Screen, one_line
from vitrine_local.errors import EXIT_FAILED, EXIT_USAGE, LocalError

EXIT_INTERRUPTED = 130

_DESCRIPTION = "Visual search for fashion catalogues: a catalogue in, a picture in, the products that look like it out."
_EPILOG = """\
A command speaks to the search API at --url or VITRINE_URL, else to the one that `vitrine up` runs on the data folder
(--data, by default .vitrine), else to http://127.0.0.1:8000. An API key is read from VITRINE_API_KEY.

  vitrine demo --once                                     draw a catalogue, index it, search it
  vitrine up                                              start everything on this machine; then, elsewhere:
  vitrine release create --model mobilenetv2_100 --dataset fashion-product --root PATH
  vitrine index --model mobilenetv2_100 --dataset fashion-product --root PATH
  vitrine search PICTURE --model mobilenetv2_100 --filter gender=Women
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command. A parsed command line has the command's function as `run`."""
    parser = argparse.ArgumentParser(
        prog="vitrine",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vitrine {_version()}")
    commands = Commands(parser)
    for module in (
        up,
        demo,
        status,
        catalog,
        release,
        train,
        evaluate,
        experiment,
        index,
        dataset,
        product,
        search,
        explain,
        jobs,
    ):
        module.add_to(commands)
    return parser


def run(argv: Sequence[str] | None = None, *, screen: Screen | None = None) -> int:
    """Run one command line, by default the process's own, and return its exit code."""
    screen = screen or Screen()
    try:
        arguments = build_parser().parse_args(argv)
        code: int = arguments.run(arguments, screen)
    except SystemExit as end:  # the parser's: help, version, or a wrong command line
        return end.code if isinstance(end.code, int) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except VitrineError as error:
        screen.error(one_line(error.detail))
        return _exit_code(error)
    return code


def _exit_code(error: VitrineError) -> int:
    if isinstance(error, LocalError):
        return error.exit_code
    return EXIT_USAGE if isinstance(error, ParameterInvalid) else EXIT_FAILED


def _version() -> str:
    try:
        return version("vitrine-local")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
