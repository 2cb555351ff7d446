"""Look up products in the collections. Ids are unique within a dataset and all its collections have the same products,
so any serving collection can answer; the first that has the product does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search_api.vector_store import VectorStore
from vitrine.errors import CollectionNotFound, DatasetNotFound, ProductNotFound
from vitrine.products import check_product_id, point_id
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.schema import CollectionInfo


@dataclass(frozen=True, slots=True)
class StoredProduct:
    """A product's payload and its collection."""

    info: CollectionInfo
    payload: dict[str, Any]


class Products:
    """Looks up products by id."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    async def get(self, dataset: str, product_id: str) -> StoredProduct:
        """The product with this id. Raises ProductNotFound, DatasetNotFound, and ParameterInvalid for an invalid id."""
        wanted = point_id(dataset, check_product_id(product_id))
        for serving in await self.servings(dataset):
            try:
                info = await self._store.collection(serving.collection)
                payload = (await self._store.retrieve(serving.collection, [wanted])).get(wanted)
            except CollectionNotFound:  # removed after the aliases were read; another collection may have it
                continue
            if payload is not None:
                return StoredProduct(info, payload)
        raise ProductNotFound(f"there is no product {product_id!r} in the dataset {dataset!r}")

    async def servings(self, dataset: str) -> list[Serving]:
        """The collections that serve the dataset. Raises DatasetNotFound if there is none."""
        for fresh in (False, True):
            found = [serving for serving in await self._store.servings(fresh=fresh) if serving.dataset == dataset]
            if found:
                return found
        raise DatasetNotFound(f"the dataset {dataset[:80]!r} is not indexed")

    async def point_ids(self, serving: Serving, product_ids: list[str]) -> list[str]:
        """The point ids of products in the serving collection. Raises ProductNotFound with the missing ids."""
        wanted = [point_id(serving.dataset, check_product_id(product_id)) for product_id in product_ids]
        if wanted:
            found = await self._store.retrieve(serving.collection, wanted)
            missing = [product_id for product_id, point in zip(product_ids, wanted, strict=True) if point not in found]
            if missing:
                raise ProductNotFound(
                    f"not in the dataset {serving.dataset!r}: {', '.join(repr(name) for name in missing[:20])}"
                )
        return wanted
