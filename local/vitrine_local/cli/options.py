"""Options that several commands have, and how their values are parsed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vitrine.catalogs.mapping import parse_mapping
from vitrine.catalogs.registry import READERS
from vitrine.errors import ParameterInvalid
from vitrine_local.cli.output import Screen
from vitrine_local.errors import UsageInvalid

_TIMM_PREFIX = "timm:"

Url = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar="VITRINE_URL", help="The search API; by default the one on the data folder."),
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The data folder of the local system; by default .vitrine.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Start the job, print its id and return.")]

Dataset = Annotated[str, typer.Option(metavar="NAME", help="The name the products of the catalogue go by.")]
OneDataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="The dataset; by default the only one that is served.")
]
Reader = Annotated[
    str | None,
    typer.Option(
        metavar="READER",
        help=f"How the folder is laid out: {', '.join(READERS)}; by default folder, which recognises shopify, "
        "woocommerce, google-merchant, hm, imagefolder, pictures and table by the columns.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=COLUMN",
        help="The column of id, picture, variantOf or an attribute, e.g. --map id=Handle --map 'picture=Image Src'; "
        "table=FILE chooses a table. Indexing keeps it with the dataset; --map none resets it.",
    ),
]
Root = Annotated[Path, typer.Option(metavar="PATH", help="The folder of the catalogue.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="Use only the first N products.")]
Model = Annotated[str, typer.Option(metavar="MODEL", help="The model, e.g. mobilenetv2_100.")]
Subset = Annotated[
    str | None, typer.Option(metavar="NAME", help="A named selection of the catalogue, e.g. fashion-22.")
]
Release = Annotated[
    str, typer.Argument(metavar="RELEASE", help="A release, or a model for the release that serves it.")
]


def screen_of(context: typer.Context) -> Screen:
    """The screen that the command writes on."""
    if context.obj is None:
        context.obj = Screen()
    screen: Screen = context.obj
    return screen


def model_name(model: str) -> str:
    """The name a model is searched by: `NAME` for `timm:NAME`."""
    return model.removeprefix(_TIMM_PREFIX)


def assignments(option: str, pairs: Sequence[str]) -> list[tuple[str, str]]:
    """`name=value` options as pairs. Raises UsageInvalid."""
    split = [pair.partition("=") for pair in pairs]
    for pair, (name, equals, _) in zip(pairs, split, strict=True):
        if not name or not equals:
            raise UsageInvalid(f"{option} takes NAME=VALUE, not {pair!r}")
    return [(name, value) for name, _, value in split]


def mapping_of(pairs: Sequence[str] | None) -> dict[str, str] | None:
    """The `--map` options as the mapping of a catalogue. None without options; raises UsageInvalid."""
    if not pairs:
        return None
    try:
        return parse_mapping(pairs)
    except ParameterInvalid as error:
        raise UsageInvalid(f"--map: {error.detail}") from error


def option_value(text: str) -> str | int | float | bool:
    """`true`, `3` and `0.5` as a boolean or a number, anything else as text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
