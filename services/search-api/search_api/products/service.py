"""Products as the collections hold them. Ids are unique within a dataset, and every collection of a dataset holds the
same products, so any that serves will do; the first that has the product answers.
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
    """A product's payload and the collection it was found in."""

    info: CollectionInfo
    payload: dict[str, Any]


class Products:
    """Look-ups by id."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    async def get(self, dataset: str, product_id: str) -> StoredProduct:
        """The product of this id. Raises ProductNotFound, DatasetNotFound, ParameterInvalid for an impossible id."""
        wanted = point_id(dataset, check_product_id(product_id))
        for serving in await self.servings(dataset):
            try:
                info = await self._store.collection(serving.collection)
                payload = (await self._store.retrieve(serving.collection, [wanted])).get(wanted)
            except CollectionNotFound:  # removed since the aliases were read; another one may still have it
                continue
            if payload is not None:
                return StoredProduct(info, payload)
        raise ProductNotFound(f"there is no product {product_id!r} in the dataset {dataset!r}")

    async def servings(self, dataset: str) -> list[Serving]:
        """What serves the dataset. Raises DatasetNotFound where nothing does."""
        for fresh in (False, True):
            found = [serving for serving in await self._store.servings(fresh=fresh) if serving.dataset == dataset]
            if found:
                return found
        raise DatasetNotFound(f"the dataset {dataset[:80]!r} is not indexed")

    async def point_ids(self, serving: Serving, product_ids: list[str]) -> list[str]:
        """The point ids of products, all of which must be in what serves. Raises ProductNotFound naming the others."""
        wanted = [point_id(serving.dataset, check_product_id(product_id)) for product_id in product_ids]
        if wanted:
            found = await self._store.retrieve(serving.collection, wanted)
            missing = [product_id for product_id, point in zip(product_ids, wanted, strict=True) if point not in found]
            if missing:
                raise ProductNotFound(
                    f"not in the dataset {serving.dataset!r}: {', '.join(repr(name) for name in missing[:20])}"
                )
        return wanted
