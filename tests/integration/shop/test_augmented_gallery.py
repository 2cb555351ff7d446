"""A gallery that is augmented when it is indexed: every vector drawn to its neighbours among the plain ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.releases import build_tiny_release, picture
from harness.shop import PRODUCTS, Shop
from vitrine.evaluation.expansion import augment_gallery
from vitrine.jobs import JobState
from vitrine.products import point_id
from vitrine.qdrant.naming import collection_name
from vitrine.releases import Augmentation
from vitrine.types import Vectors

DATASET = "smooth"
NEIGHBOURS, ALPHA = 4, 2.0


def test_an_augmented_gallery_is_what_evaluation_measures_and_stays_so_as_products_come(shop: Shop) -> None:
    augmentation = Augmentation(neighbours=NEIGHBOURS, alpha=ALPHA)
    augmented = build_tiny_release(
        shop.system.releases, name="augmented", parent=shop.release, augmentation=augmentation
    )
    asked: dict[str, Any] = {"dataset": DATASET, "model": "augmented", "release_id": augmented}
    early = shop.system.finished(shop.start_index(**asked)["id"])
    assert early.state is JobState.FAILED
    assert "index it with that release first" in str(early.error)

    shop.system.succeeded(shop.start_index(dataset=DATASET, release_id=shop.release)["id"])
    shop.system.succeeded(shop.start_index(**asked)["id"])
    plain, smoothed = vectors_of(shop, shop.release), vectors_of(shop, augmented)
    assert plain.keys() == smoothed.keys()
    assert len(plain) == PRODUCTS
    names = list(plain)
    expected = augment_gallery(np.stack([plain[name] for name in names]), k=NEIGHBOURS, alpha=ALPHA)
    np.testing.assert_allclose(np.stack([smoothed[name] for name in names]), expected, atol=2e-3)

    put = shop.api.put("/api/products/late", params={"dataset": DATASET}, files={"image": picture(900)})
    assert put.status_code == 200, put.text
    late = point_id(DATASET, "late")
    plain, smoothed = vectors_of(shop, shop.release), vectors_of(shop, augmented)
    names = list(plain)
    expected = augment_gallery(np.stack([plain[name] for name in names]), k=NEIGHBOURS, alpha=ALPHA)
    np.testing.assert_allclose(smoothed[late], expected[names.index(late)], atol=2e-3)

    # Indexed again, every vector follows its neighbours, of which one is new.
    shop.system.succeeded(shop.start_index(**asked)["id"])
    smoothed = vectors_of(shop, augmented)
    np.testing.assert_allclose(np.stack([smoothed[name] for name in names]), expected, atol=2e-3)


def vectors_of(shop: Shop, release: str) -> dict[str, Vectors]:
    points, _ = shop.system.store.scroll(collection_name(DATASET, release), limit=PRODUCTS + 10, with_vectors=True)
    return {str(point.id): np.asarray(point.vector, dtype=np.float32) for point in points}
