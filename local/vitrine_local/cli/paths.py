"""Catalogues and files named on the command line, as the services will know them.

On this machine a path is made absolute and added to the folders and files that the services may read. For a system
elsewhere it must be an absolute path of that machine, whose owner decides what may be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrine.catalogs.registry import reader_for
from vitrine.errors import ParameterInvalid
from vitrine_local.cli.api import Target
from vitrine_local.errors import UsageInvalid

# The members of vitrine.jobs.params.catalog.CatalogParams.
CatalogMembers = dict[str, Any]


def catalog_of(
    target: Target,
    dataset: str,
    reader: str | None,
    root: Path,
    *,
    limit: int | None = None,
    columns: dict[str, str] | None = None,
) -> CatalogMembers:
    """A catalogue named on the command line. Raises UsageInvalid for a folder that cannot be used."""
    members = {"dataset": dataset, "reader": reader or reader_for(dataset), "root": catalog_root(target, root)}
    given = {"limit": limit, "mapping": columns}
    return members | {name: value for name, value in given.items() if value is not None}


def catalog_of_file(
    target: Target,
    table: Mapping[str, Any],
    *,
    file: str,
    dataset: str | None,
    reader: str | None,
    root: Path | None,
    limit: int | None,
    columns: dict[str, str] | None,
) -> CatalogMembers:
    """The catalogue of a file's `catalog` table. The options of the command line take precedence.

    Raises ParameterInvalid if neither names one.
    """
    dataset = dataset or table.get("dataset")
    root = root or (Path(table["root"]) if "root" in table else None)
    if dataset is None or root is None:
        raise ParameterInvalid(f"name the catalogue: --dataset and --root, or the {file}'s catalog table")
    return catalog_of(
        target,
        dataset,
        reader or table.get("reader"),
        root,
        limit=limit or table.get("limit"),
        columns=table.get("mapping") if columns is None else columns,
    )


def second_catalog(
    target: Target, name: str, *, dataset: str | None, reader: str | None, root: Path | None
) -> CatalogMembers | None:
    """The catalogue of the options `--NAME-dataset`, `-root` and `-reader`. None if they are absent; raises
    ParameterInvalid if only one of the first two is given.
    """
    if (dataset is None) != (root is None):
        raise ParameterInvalid(f"--{name}-dataset and --{name}-root belong together")
    return None if dataset is None or root is None else catalog_of(target, dataset, reader, root)


def catalog_root(target: Target, root: Path) -> str:
    """The folder of a catalogue. Raises UsageInvalid."""
    if target.local is not None:
        return str(target.local.allow_root(root))
    return _absolute(target, "--root", root)


def weights_path(target: Target, weights: str) -> str:
    """The value of --weights: `pretrained`, `seed:N` or the path of a file. Raises UsageInvalid."""
    if weights == "pretrained" or weights.startswith("seed:"):
        return weights
    path = Path(weights).expanduser()
    if target.local is None:
        return _absolute(target, "--weights", path)
    if not path.is_file():
        raise UsageInvalid(f"--weights takes 'pretrained', 'seed:N' or a safetensors file; there is no file {path}")
    return str(target.local.allow_file(path))


def _absolute(target: Target, option: str, path: Path) -> str:
    if not path.is_absolute():
        raise UsageInvalid(
            f"the search API at {target.url} does not run on a data folder of this machine, "
            f"so {option} must be an absolute path on its machine, not {path}"
        )
    return str(path)
