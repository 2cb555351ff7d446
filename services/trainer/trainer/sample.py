"""Which products a projection is fitted on: those of the train part, and of them at most so many, chosen by a hash so
that the choice depends on nothing but the seed and the products.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from vitrine.errors import ProjectionImpossible
from vitrine.products import Product
from vitrine.splits import part_of


def fitting_sample(products: Sequence[Product], *, seed: int, sample_max: int, components: int) -> list[Product]:
    """The products to fit on, in the catalogue's order.

    Raises ProjectionImpossible where the train part has fewer products than `components`.
    """
    train = [product for product in products if part_of(product.dataset, product.id, seed=seed) == "train"]
    if len(train) < components:
        raise ProjectionImpossible(
            f"the train part has {len(train)} products and {components} components need as many: ask for fewer "
            "components or give a larger catalogue"
        )
    if len(train) <= sample_max:
        return train
    chosen = sorted(train, key=lambda product: _rank(product.id, seed))[:sample_max]
    wanted = {product.id for product in chosen}
    return [product for product in train if product.id in wanted]


def _rank(product_id: str, seed: int) -> bytes:
    return hashlib.blake2b(f"sample\n{seed}\n{product_id}".encode(), digest_size=8).digest()
