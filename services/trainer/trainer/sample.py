"""Which products a projection is fitted on: those of the train part, and of them at most so many, chosen by a hash so
that the choice depends on nothing but the seed and the products.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data.splits import split_products, split_rule
from vitrine.catalogs.registry import select
from vitrine.errors import ProjectionImpossible
from vitrine.products import Product
from vitrine.recipes import DataRecipe
from vitrine.releases.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Sample:
    """The products to fit on, in the catalogue's order, and the lineage with the split whose train part they are."""

    products: list[Product]
    lineage: Lineage


def fitting_sample(
    products: Sequence[Product], data: DataRecipe, *, lineage: Lineage, seed: int, sample_max: int, components: int
) -> Sample:
    """The train part of a catalogue, or as much of it as `sample_max` allows. Products without the label are split too.

    Raises ProjectionImpossible where it has fewer products than `components`, and as `split_products` does.
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
