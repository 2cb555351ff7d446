"""Options that several commands take, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitrine.catalogs.registry import reader_for
from vitrine_local.cli.target import Target
from vitrine_local.errors import UsageInvalid

UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="VITRINE_URL", help="The search API. Default: the one that runs on the data folder."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="VITRINE_DATA", help="The data folder of the local system. Default: .vitrine"),
]
DatasetOption = Annotated[str, typer.Option("--dataset", help="The name the catalogue's products go by.")]
ReaderOption = Annotated[
    str | None,
    typer.Option(
        "--reader",
        help="How the folder is laid out: fashion-product, folder or synthetic. "
        "Default: the reader of the dataset's name, else folder.",
    ),
]
RootOption = Annotated[Path, typer.Option("--root", help="The catalogue's folder.")]
ModelOption = Annotated[str, typer.Option("--model", help="The model, e.g. mobilenetv2_100.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Use only so many products.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def reader_of(dataset: str, reader: str | None) -> str:
    """The reader given, or the one a dataset's name stands for."""
    return reader or reader_for(dataset)


def catalog_root(target: Target, root: Path) -> str:
    """The catalogue's folder as the services will know it.

    On this machine it is made absolute and put on the list of the folders that the services may read. Elsewhere it is
    a path of the other machine, whose owner decides what may be read. Raises UsageInvalid.
    """
    if target.local is not None:
        return str(target.local.allow_root(root))
    if not root.is_absolute():
        raise UsageInvalid(f"the search API runs elsewhere, so --root must be an absolute path there, not {root}")
    return str(root)


def weights_path(target: Target, weights: str) -> str:
    """The value of --weights as the trainer will know it: a word stays, a file becomes a path, as with --root."""
    if weights == "pretrained" or weights.startswith("seed:"):
        return weights
    path = Path(weights).expanduser()
    if target.local is None:
        if not path.is_absolute():
            raise UsageInvalid(f"the search API runs elsewhere, so --weights must be an absolute path there, not {path}")
        return str(path)
    if not path.is_file():
        raise UsageInvalid(f"--weights takes 'pretrained', 'seed:N' or a safetensors file; there is no file {path}")
    resolved = path.resolve()
    target.local.allow_root(resolved.parent)
    return str(resolved)


def assignments(option: str, pairs: list[str]) -> list[tuple[str, str]]:
    """`name=value` options as pairs. Raises UsageInvalid."""
    split = [pair.partition("=") for pair in pairs]
    for pair, (name, equals, _) in zip(pairs, split, strict=True):
        if not name or not equals:
            raise UsageInvalid(f"{option} takes NAME=VALUE, not {pair!r}")
    return [(name, value) for name, _, value in split]
