"""Bringing a collection up to the uploads: products put or deleted through the API while it was being built. What was
planned is not looked at again; only what the overlay says now, and the plan did not, is done.
"""

from __future__ import annotations

from collections.abc import Iterable

from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.target import Target
from vitrine.products import Product, point_id

_AT_ONCE = 64


def reconcile(parts: Parts, target: Target, planned: Iterable[Planned]) -> tuple[set[str], set[str]]:
    """Apply the overlay to the target's collection. Returns the point ids it added or kept, and those it deleted."""
    in_plan = {one.product.id: one for one in planned}
    deleted = {point_id(target.dataset, product_id) for product_id in parts.overlay.tombstones(target.dataset)}
    parts.vectors.delete(target.collection, deleted)
    changed = [
        Planned(product, "upload")
        for product in parts.overlay.products(target.dataset)
        if not _is_planned(product, in_plan)
    ]
    ingest = Ingest(parts, collection=target.collection, release_id=target.release_id, root=None)
    for start in range(0, len(changed), _AT_ONCE):
        ingest.store(changed[start : start + _AT_ONCE])
    return {one.product.point_id for one in changed}, deleted


def _is_planned(product: Product, in_plan: dict[str, Planned]) -> bool:
    planned = in_plan.get(product.id)
    return planned is not None and planned.origin == "upload" and planned.product == product
