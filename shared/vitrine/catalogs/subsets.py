"""Named selections of a catalogue's products, kept as data, so that a number measured on one can be measured again."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from vitrine.errors import CatalogMalformed, ParameterInvalid
from vitrine.products import AttributeValue, Product

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
