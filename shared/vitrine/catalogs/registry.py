"""The catalogue readers by name, and named subsets of products."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

from vitrine.catalogs.deepfashion_category import read_deepfashion_category
from vitrine.catalogs.deepfashion_inshop import read_deepfashion_inshop
from vitrine.catalogs.downloads import Downloads, KeepsLink, no_link
from vitrine.catalogs.fashion_product import read_fashion_product
from vitrine.catalogs.folder import LAYOUTS, read_folder
from vitrine.catalogs.model import Catalog
from vitrine.errors import CatalogMalformed, CatalogNotFound, ParameterInvalid
from vitrine.products import AttributeValue, Product, check_dataset_name


class CatalogReader(Protocol):
    """Reads the catalogue in a folder that is absolute and free of links."""

    def __call__(self, root: Path, *, dataset: str, reader: str, limit: int | None = None) -> Catalog: ...


class MappedReader(Protocol):
    """A reader of tables, whose columns the caller may name."""

    def __call__(
        self,
        root: Path,
        *,
        dataset: str,
        reader: str,
        limit: int | None = None,
        mapping: Mapping[str, str] | None,
        keeps_link: KeepsLink,
    ) -> Catalog: ...


_FOLDER: Final = "folder"
# The generated demo catalogue has the layout of the published one.
_READERS: Final[dict[str, CatalogReader]] = {
    "deepfashion-category": read_deepfashion_category,
    "deepfashion-inshop": read_deepfashion_inshop,
    "fashion-product": read_fashion_product,
    "synthetic": read_fashion_product,
}
# `folder` recognises the layout by the columns; each layout is also a reader, which forces it.
_MAPPED_READERS: Final[dict[str, MappedReader]] = dict.fromkeys((_FOLDER, *LAYOUTS), read_folder)
READERS: Final = tuple(sorted((*_READERS, *_MAPPED_READERS)))


def reader_for(dataset: str) -> str:
    """The default reader of a dataset: the research catalogue of that name, else `folder`."""
    return dataset if dataset in _READERS else _FOLDER


def check_reader(reader: str) -> str:
    """Return the name of a reader. Raises ParameterInvalid if it is unknown."""
    if reader not in READERS:
        raise ParameterInvalid(f"there is no catalogue reader {reader[:80]!r}; there are {', '.join(READERS)}")
    return reader


def read_catalog(
    reader: str,
    root: Path,
    *,
    dataset: str | None = None,
    limit: int | None = None,
    mapping: Mapping[str, str] | None = None,
    keeps_link: KeepsLink | None = None,
    downloads: Downloads | None = None,
) -> Catalog:
    """Read the catalogue in the folder `root`.

    `dataset` is the dataset name of the products, by default the reader's name; `limit` is the maximum number of
    products, taken from the start of the file. `mapping` names the columns of roles (`id`, `picture`, `variantOf`) and
    of attributes, such as `{"id": "Handle", "price": "Variant Price"}`. A picture that is a link, without a file of its
    name below the root, is kept as a link if `keeps_link` accepts it, by default if it is in `downloads`; otherwise it
    is missing. The catalogue reads such pictures from `downloads`. Issues of single rows are in the result.

    Raises ParameterInvalid for an unknown reader, an invalid name, a column that the table does not have, or a mapping
    for a reader whose columns are fixed; and CatalogNotFound, CatalogMalformed or CatalogRootRefused if the folder
    cannot be read.
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
        raise CatalogNotFound(
            f"{root} is not a folder; name its folder {root.parent}, and the table with --map table={root.name} if the "
            "folder has several"
        )
    if reader in _MAPPED_READERS:
        if keeps_link is None:
            keeps_link = no_link if downloads is None else downloads.has
        catalog = _MAPPED_READERS[reader](
            resolved, dataset=name, reader=reader, limit=limit, mapping=mapping, keeps_link=keeps_link
        )
        return catalog if downloads is None else replace(catalog, downloads=downloads)
    if mapping:
        raise ParameterInvalid(f"the reader {reader!r} has fixed columns; use 'folder' with a mapping")
    return _READERS[reader](resolved, dataset=name, reader=reader, limit=limit)


Rule = dict[str, frozenset[AttributeValue]]


def subset_names() -> tuple[str, ...]:
    """The names of the subsets for `select`."""
    return tuple(_rules())


def select(products: Iterable[Product], subset: str) -> list[Product]:
    """The products of a named subset, in their order.

    Raises ParameterInvalid if the name is unknown, and CatalogMalformed if no product is in the subset.
    """
    if subset not in _rules():
        raise ParameterInvalid(f"there is no subset {subset[:80]!r}; there are {', '.join(subset_names())}")
    rule = _rules()[subset]
    chosen = [product for product in products if _fits(product, rule)]
    if not chosen:
        needs = " and ".join(f"{attribute} one of {len(values)} values" for attribute, values in rule.items())
        raise CatalogMalformed(f"no product is in the subset {subset!r}, which needs {needs}")
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
