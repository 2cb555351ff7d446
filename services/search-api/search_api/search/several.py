"""Searches among products with several pictures: queries by products, and which picture of a result matched.

A query is always one vector. Qdrant would score a product as a query by the sum over its pictures, so the face asks for
it: scores then mean the same everywhere, and details that many products share, such as labels, find nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qdrant_client import models

from search_api.search.rerank import nearest_picture
from vitrine.errors import ProductNotFound
from vitrine.products import PICTURES_FIELD, group_of

if TYPE_CHECKING:
    from search_api.search.retrieval import Prepared
    from search_api.vector_store import Query, VectorStore


async def query_of_product(store: VectorStore, prepared: Prepared, point: str) -> tuple[Prepared, Query]:
    """The query by a product, which is excluded from the results. Raises ProductNotFound."""
    if not prepared.info.several_pictures:
        return prepared, point
    return await _by_faces(store, prepared, [point], [])


async def query_of_examples(
    store: VectorStore, prepared: Prepared, positive: Sequence[str | list[float]], negative: Sequence[str | list[float]]
) -> tuple[Prepared, Query]:
    """The query by products (point ids) and vectors. The products are excluded from the results.

    Raises ProductNotFound.
    """
    if prepared.info.several_pictures:
        return await _by_faces(store, prepared, positive, negative)
    return prepared, models.RecommendQuery(
        recommend=models.RecommendInput(
            positive=list(positive), negative=list(negative), strategy=models.RecommendStrategy.AVERAGE_VECTOR
        )
    )


async def without_variants(store: VectorStore, prepared: Prepared, examples: Sequence[str | list[float]]) -> Prepared:
    """The same without the variants of the products among the examples, where one of each product is found."""
    points = [one for one in examples if isinstance(one, str)]
    if not prepared.one_of_each or not points:
        return prepared
    payloads = await store.retrieve(prepared.info.name, points)
    return replace(prepared, excluded_groups=tuple(dict.fromkeys(map(group_of, payloads.values()))))


async def matched_pictures(
    store: VectorStore, prepared: Prepared, query: Query, points: Sequence[models.ScoredPoint]
) -> dict[str, int]:
    """Which picture of each product is nearest to the query, from 0, by point id, of the products with several.

    Reads the vectors of these products only.
    """
    if not prepared.info.several_pictures or not isinstance(query, list):
        return {}
    counts = {str(point.id): len((point.payload or {}).get(PICTURES_FIELD) or ()) for point in points}
    several = [point for point, count in counts.items() if count > 1]
    if not several:
        return {}
    vectors = await store.vectors(prepared.info.name, several)
    return {
        point: nearest_picture(pictures, query)
        for point, pictures in vectors.items()
        if len(pictures) == counts[point]  # or it was changed since the search
    }


async def _by_faces(
    store: VectorStore, prepared: Prepared, positive: Sequence[str | list[float]], negative: Sequence[str | list[float]]
) -> tuple[Prepared, Query]:
    """The nearest to 2 * mean(positive) - mean(negative), as Qdrant averages examples."""
    points = list(dict.fromkeys(one for one in (*positive, *negative) if isinstance(one, str)))
    stored = await store.vectors(prepared.info.name, points) if points else {}
    if len(stored) < len(points):
        raise ProductNotFound(f"a product was removed from {prepared.serving.dataset!r} during the search")

    def mean(examples: Sequence[str | list[float]]) -> np.ndarray:
        rows = [stored[one][0] if isinstance(one, str) else np.asarray(one) for one in examples]
        found: np.ndarray = np.mean(np.asarray(rows, dtype=np.float64), axis=0)
        return found

    wanted = mean(positive)
    if negative:
        wanted = 2 * wanted - mean(negative)
    query: list[float] = wanted.tolist()
    return replace(prepared, excluded=tuple(points)), query
