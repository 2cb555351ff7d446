"""The catalogue that a job is about, as a command names it and as the services will know it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrine.catalogs.registry import reader_for
from vitrine.errors import ParameterInvalid
from vitrine_local.cli.target import Target
from vitrine_local.errors import UsageInvalid

# What a job's request says of its catalogue.
Named = dict[str, Any]


def named_catalog(arguments: argparse.Namespace, target: Target) -> Named:
    """The catalogue of `add_catalog`'s options."""
    return {
        **catalog_of(target, arguments.dataset, arguments.reader, arguments.root),
        "limit": arguments.limit,
    }


def catalog_of_file(arguments: argparse.Namespace, table: Mapping[str, Any], target: Target, *, file: str) -> Named:
    """The catalogue of a file's catalog `table`, the command line before it. Raises ParameterInvalid for none."""
    dataset = arguments.dataset or table.get("dataset")
    root = arguments.root or (Path(table["root"]) if "root" in table else None)
    if dataset is None or root is None:
        raise ParameterInvalid(f"name the catalogue: --dataset and --root, or the {file}'s catalog table")
    return {
        **catalog_of(target, dataset, arguments.reader or table.get("reader"), root),
        "limit": arguments.limit or table.get("limit"),
    }


def other_catalog(arguments: argparse.Namespace, name: str, target: Target) -> Named | None:
    """A second catalogue, of the options `--NAME-dataset`, `-root` and `-reader`, where one is named. Raises
    ParameterInvalid where only half of it is.
    """
    dataset, root, reader = (getattr(arguments, f"{name}_{what}") for what in ("dataset", "root", "reader"))
    if (dataset is None) != (root is None):
        raise ParameterInvalid(f"--{name}-dataset and --{name}-root belong together")
    return None if root is None else catalog_of(target, dataset, reader, Path(root))


def catalog_of(target: Target, dataset: str, reader: str | None, root: Path) -> Named:
    return {"dataset": dataset, "reader": reader_of(dataset, reader), "root": catalog_root(target, root)}


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
        raise UsageInvalid(
            f"the search API at {target.url} does not run on a data folder known here, "
            f"so --root must be an absolute path on its machine, not {root}"
        )
    return str(root)
