"""The tree of commands, and the one place that turns an error into a line on standard error and an exit code.

A command is a function of its options. It prints its result and returns, or raises. Its module is imported when it is
used, so that `vitrine --help` does not wait for the imports of every command.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from vitrine.errors import ParameterInvalid, VitrineError
from vitrine_local.errors import EXIT_FAILED, EXIT_USAGE, LocalError

if TYPE_CHECKING:
    from vitrine_local.cli.output import Screen

EXIT_INTERRUPTED: Final = 130

_EPILOG: Final = """\
A command calls the search API at --url or VITRINE_URL, else the one that `vitrine up` runs on the data folder (--data,
by default .vitrine), else http://127.0.0.1:8000. The API key is read from VITRINE_API_KEY.

\b
Examples:
  vitrine demo --once             draw a catalogue, index it, search it
  vitrine up                      start everything on this machine; then, in another terminal:
  vitrine release create --model mobilenetv2_100 --dataset fashion-product --root PATH
  vitrine index --model mobilenetv2_100 --dataset fashion-product --root PATH
  vitrine search PICTURE --model mobilenetv2_100 --filter gender=Women
"""


class _Entry(NamedTuple):
    """A command of the first level: its module, its function or Typer application there, and its help."""

    module: str
    name: str
    help: str


COMMANDS: Final = {
    "up": _Entry("system", "up", "Start every service on this machine and keep it running until Ctrl-C."),
    "demo": _Entry("demo", "demo", "Draw a catalogue, index it and search it, with nothing to download."),
    "status": _Entry("system", "status", "Show which services are up and what is indexed; fails if a service is down."),
    "catalog": _Entry("catalogs", "app", "Inspect a catalogue, draw one, or report on its health."),
    "release": _Entry("releases", "app", "Create and list releases, and choose the one that serves."),
    "train": _Entry("training", "train", "Train a network by a recipe and make a release of it."),
    "adapt": _Entry("training", "adapt", "Adapt the batch normalisation of a release to a catalogue, without labels."),
    "tune": _Entry("training", "tune", "Choose the projection of a release from every number of components."),
    "evaluate": _Entry("evaluation", "evaluate", "Measure how well releases find, and write a report."),
    "visualize": _Entry("evaluation", "visualize", "Draw a map of a catalogue as a release sees it."),
    "experiment": _Entry("experiments", "app", "Run an experiment, or list the experiments of a folder."),
    "index": _Entry("releases", "index", "Index a catalogue with a release, then let that release serve."),
    "dataset": _Entry("products", "datasets", "List the datasets; show, schedule or delete one."),
    "product": _Entry("products", "products", "Restore a deleted product, or list the deleted ones."),
    "search": _Entry("search", "search", "Find the products that look most like a picture."),
    "explain": _Entry("search", "explain", "Show where a picture and a product look alike."),
    "jobs": _Entry("jobs", "jobs", "List the jobs, or show, follow, cancel or delete one."),
}


class _LazyGroup(TyperGroup):
    """The first level of commands."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the interface of typer
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the interface of typer
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found = getattr(import_module(f"vitrine_local.cli.{entry.module}"), entry.name)
        if isinstance(found, typer.Typer):
            found.info.help = entry.help
            return get_command(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name, help=entry.help)(found)
        return get_command(alone)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the interface of typer
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vitrine {_version()}")
        raise typer.Exit


app = typer.Typer(
    cls=_LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
    help="Visual search for fashion catalogues: find the products of a catalogue that look like a picture.",
)


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


def run(argv: Sequence[str] | None = None, *, screen: Screen | None = None) -> int:
    """Run one command line, by default that of the process, and return its exit code."""
    try:
        code = get_command(app).main(
            args=None if argv is None else list(argv), prog_name="vitrine", standalone_mode=False, obj=screen
        )
    except SystemExit as end:  # the reader of standard output is gone
        return end.code if isinstance(end.code, int) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except typer.TyperException as error:
        return _fail(screen, _sentence(error), error.exit_code)
    except VitrineError as error:
        return _fail(screen, error.detail, _exit_code(error))
    return code if isinstance(code, int) else 0


def _fail(screen: Screen | None, detail: str, code: int) -> int:
    from vitrine_local.cli.output import Screen, one_line

    (screen or Screen()).error(one_line(detail))
    return code


def _sentence(error: typer.TyperException) -> str:
    """What is wrong with the command line, and where its options are described."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    path = "vitrine" if context is None else context.command_path
    return f"{message[:1].lower()}{message[1:]}; see `{path} --help`"


def _exit_code(error: VitrineError) -> int:
    if isinstance(error, LocalError):
        return error.exit_code
    return EXIT_USAGE if isinstance(error, ParameterInvalid) else EXIT_FAILED


def _version() -> str:
    try:
        return version("vitrine-local")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
