"""Options that several commands take, and how their values are read."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vitrine.catalogs.registry import READERS
from vitrine_local.cli.screen import Screen
from vitrine_local.cli.target import Target, find_target
from vitrine_local.errors import UsageInvalid

Run = Callable[[argparse.Namespace, Screen], int]

_TIMM_PREFIX = "timm:"


class Commands:
    """A level of the tree of commands."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._level = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(self, name: str, run: Run, help_text: str) -> argparse.ArgumentParser:
        """A command, carried out by `run`."""
        parser = self._parser(name, help_text)
        parser.set_defaults(run=run)
        return parser

    def add_level(self, name: str, help_text: str) -> Commands:
        """A command that has commands of its own."""
        return Commands(self._parser(name, help_text))

    def _parser(self, name: str, help_text: str) -> argparse.ArgumentParser:
        description = f"{help_text[0].upper()}{help_text[1:]}."
        # An abbreviation that works today would mean something else once an option is added.
        return self._level.add_parser(name, help=help_text, description=description, allow_abbrev=False)


def add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", help="the search API (default: VITRINE_URL, else the one that runs on the data folder)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder of the local system (default: .vitrine)")


def add_catalog(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument("--root", type=Path, required=True, metavar="PATH", help="the catalogue's folder")
    add_limit(parser)


def add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="NAME", help="the name the catalogue's products go by")
    parser.add_argument(
        "--reader",
        choices=READERS,
        help="how the folder is laid out (default: the reader of the dataset's name, else folder)",
    )


def add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=whole_number(at_least=1), metavar="N", help="use only the first N products")


def add_model(parser: argparse.ArgumentParser, *, help_text: str = "the model, e.g. mobilenetv2_100") -> None:
    parser.add_argument("--model", required=True, help=help_text)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def whole_number(*, at_least: int) -> Callable[[str], int]:
    """A reader of whole numbers for the parser."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < at_least:
            raise argparse.ArgumentTypeError(f"{number} is less than {at_least}")
        return number

    return read


def target_of(arguments: argparse.Namespace) -> Target:
    """The search API a command speaks to. Raises ServerUnreachable where --data names a folder nothing runs on."""
    return find_target(arguments.url or os.environ.get("VITRINE_URL") or None, arguments.data)


def model_name(model: str) -> str:
    """The name a model is searched by: that of `timm:NAME` is `NAME`."""
    return model.removeprefix(_TIMM_PREFIX)


def weights_path(target: Target, weights: str) -> str:
    """The value of --weights as the trainer will know it: a word stays, a file becomes a path, as with --root."""
    if weights == "pretrained" or weights.startswith("seed:"):
        return weights
    path = Path(weights).expanduser()
    if target.local is None:
        if not path.is_absolute():
            raise UsageInvalid(
                f"the search API at {target.url} does not run on a data folder known here, "
                f"so --weights must be an absolute path on its machine, not {path}"
            )
        return str(path)
    if not path.is_file():
        raise UsageInvalid(f"--weights takes 'pretrained', 'seed:N' or a safetensors file; there is no file {path}")
    return str(target.local.allow_file(path))


def assignments(option: str, pairs: Sequence[str]) -> list[tuple[str, str]]:
    """`name=value` options as pairs. Raises UsageInvalid."""
    split = [pair.partition("=") for pair in pairs]
    for pair, (name, equals, _) in zip(pairs, split, strict=True):
        if not name or not equals:
            raise UsageInvalid(f"{option} takes NAME=VALUE, not {pair!r}")
    return [(name, value) for name, _, value in split]


def option_value(text: str) -> str | int | float | bool:
    """`true`, `3` and `0.5` as what they look like, anything else as text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
