"""The split that a job uses: that of the release it starts from, if it has one of the same catalogue, else a new one.

So no release made from another one, and no evaluation, tests on products that the other was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from vitrine.catalogs.registry import select
from vitrine.errors import ProjectionImpossible
from vitrine.products import Product
from vitrine.recipes import DataRecipe
from vitrine.releases.lineage import Lineage
from vitrine.splits import Part, SplitRule, split


def split_rule(dataset: str, data: DataRecipe, *, seed: int, lineage: Lineage) -> SplitRule:
    """The rule in the lineage, if it has the same kind and group, else that of `data` and `seed`."""
    wanted = SplitRule(attribute=data.label, seed=seed, group=data.group, kind=data.split)
    known = lineage.rules.get(dataset)
    return known if known is not None and (known.kind, known.group) == (wanted.kind, wanted.group) else wanted


def split_products(products: Sequence[Product], rule: SplitRule, lineage: Lineage) -> dict[str, Part]:
    """The part of each product by its id: that in the lineage, if it was split by the same rule, else a new one.

    Raises ParameterInvalid as `vitrine.splits.split` does.
    """
    if not products:
        return {}
    dataset = products[0].dataset
    known = lineage.parts_of(dataset, [one.id for one in products]) if lineage.rules.get(dataset) == rule else {}
    return split(products, rule, known)


@dataclass(frozen=True, slots=True)
class Sample:
    """Products of the train part, in the catalogue's order, and the lineage with their split."""

    products: list[Product]
    lineage: Lineage


def fitting_sample(
    products: Sequence[Product], data: DataRecipe, *, lineage: Lineage, seed: int, sample_max: int, components: int
) -> Sample:
    """The products to fit a projection on: the train part, or `sample_max` of it chosen by a hash of id and seed. They
    need no label.

    Raises ProjectionImpossible if there are fewer than `components`, and as `split_products` does.
    """
    chosen = list(products) if data.subset is None else select(products, data.subset)
    dataset = chosen[0].dataset if chosen else ""
    rule = split_rule(dataset, data, seed=seed, lineage=lineage)
    parts = split_products(chosen, rule, lineage)
    train = [product for product in chosen if parts.get(product.id) == "train"]
    if len(train) < components:
        raise ProjectionImpossible(
            f"the train part has {len(train)} products and {components} components need as many: ask for fewer "
            "components or give a larger catalogue"
        )
    if len(train) > sample_max:
        ranked = sorted(train, key=lambda product: _rank(product.id, seed))
        wanted = {product.id for product in ranked[:sample_max]}
        train = [product for product in train if product.id in wanted]
    return Sample(train, lineage.with_split(dataset, rule, parts))


def _rank(product_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"sample\n{seed}\n{product_id}".encode(), digest_size=8).digest()
