"""The readers by name, and the one call that reads a catalogue with any of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

from vitrine.catalogs.deepfashion_category import read_deepfashion_category
from vitrine.catalogs.deepfashion_inshop import read_deepfashion_inshop
from vitrine.catalogs.fashion_product import read_fashion_product
from vitrine.catalogs.folder import read_folder
from vitrine.catalogs.model import Catalog
from vitrine.errors import CatalogMalformed, CatalogNotFound, ParameterInvalid
from vitrine.products import AttributeValue, Product, check_dataset_name


class CatalogReader(Protocol):
    """A folder on disk in, a catalogue out."""

    def __call__(self, root: Path, *, dataset: str, reader: str, limit: int | None = None) -> Catalog: ...


# The generated catalogue lies on disk as the published one does.
_READERS: Final[dict[str, CatalogReader]] = {
    "deepfashion-category": read_deepfashion_category,
    "deepfashion-inshop": read_deepfashion_inshop,
    "fashion-product": read_fashion_product,
    "folder": read_folder,
    "synthetic": read_fashion_product,
}
READERS: Final = tuple(_READERS)


def reader_for(dataset: str) -> str:
    """The reader meant where only a dataset is named: the one of that name, else `folder`."""
    return dataset if dataset in _READERS else "folder"


def check_reader(reader: str) -> str:
    """Return the name of a reader. Raises ParameterInvalid if it is unknown."""
    if reader not in _READERS:
        raise ParameterInvalid(f"there is no catalogue reader {reader[:80]!r}; there are {', '.join(READERS)}")
    return reader


def read_catalog(reader: str, root: Path, *, dataset: str | None = None, limit: int | None = None) -> Catalog:
    """Read the catalogue in the folder `root` with the named reader.

    `dataset` is the name its products go by, the reader's own by default; `limit` is the most products to read, those
    that come first in the file. Faults of single rows are in the result. Raises ParameterInvalid for a reader or a
    name that cannot be, and CatalogNotFound, CatalogMalformed or CatalogRootRefused for a folder that cannot be read.
    """
    check_reader(reader)
    if limit is not None and limit < 0:
        raise ParameterInvalid(f"the limit is {limit}; it must be 0 or more")
    name = check_dataset_name(reader if dataset is None else dataset)
    try:
        resolved = root.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CatalogNotFound(f"there is no catalogue folder {root}") from error
    if not resolved.is_dir():
        raise CatalogNotFound(f"{root} is no folder")
    return _READERS[reader](resolved, dataset=name, reader=reader, limit=limit)


Rule = dict[str, frozenset[AttributeValue]]


def subset_names() -> tuple[str, ...]:
    """The names that `select` knows."""
    return tuple(_rules())


def select(products: Iterable[Product], subset: str) -> list[Product]:
    """The products that are in the subset, in their order.

    Raises ParameterInvalid for a name that is unknown, and CatalogMalformed where no product is in it.
    """
    if subset not in _rules():
        raise ParameterInvalid(f"there is no subset {subset[:80]!r}; there are {', '.join(subset_names())}")
    rule = _rules()[subset]
    chosen = [product for product in products if _fits(product, rule)]
    if not chosen:
        told = " and ".join(f"{attribute} one of {len(values)} values" for attribute, values in rule.items())
        raise CatalogMalformed(f"no product is in the subset {subset!r}, which needs {told}")
    return chosen


def _fits(product: Product, rule: Rule) -> bool:
    return all(product.attributes.get(attribute) in values for attribute, values in rule.items())


@cache
def _rules() -> dict[str, Rule]:
    text = files("vitrine.catalogs").joinpath("subsets.toml").read_text(encoding="utf-8")
    return {
        name: {attribute: frozenset(values) for attribute, values in rule.items()}
        for name, rule in tomllib.loads(text).items()
    }
