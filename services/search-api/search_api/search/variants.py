"""Searches that show one of each product: the variant that is nearest to the query.

Variants are products with one shared id. In a collection that knows variants every product has such an id, its own if
it has none. The nearest products are read, then again without those that were found, until there are enough. Qdrant's
own groups are not used: variants often share a picture, and Qdrant orders equal scores in any way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from search_api.search.facets import narrowed
from vitrine.products import VARIANT_FIELD, group_of

if TYPE_CHECKING:
    from search_api.vector_store import Query, VectorStore
    from vitrine.qdrant.schema import CollectionInfo

_MOST_ASKED: Final = 1_000  # of one search
_LEAST_ASKED: Final = 50
_ASKED_PER_PRODUCT: Final = 3


def asked_for(limit: int) -> int:
    """How many variants are read at once, to find `limit` products."""
    return min(_MOST_ASKED, max(_LEAST_ASKED, limit * _ASKED_PER_PRODUCT))


def any_of(groups: Iterable[str]) -> models.FieldCondition:
    """The condition that a product has one of these shared ids."""
    return models.FieldCondition(key=VARIANT_FIELD, match=models.MatchAny(any=list(groups)))


def none_of(groups: Iterable[str]) -> models.Filter:
    """The condition that a product has none of these shared ids."""
    return models.Filter(must_not=[any_of(groups)])


def group(point: models.ScoredPoint) -> str:
    """The id that a point shares with its variants."""
    return group_of(point.payload or {})


def best_of_each(points: Iterable[models.ScoredPoint]) -> list[models.ScoredPoint]:
    """The first variant of each product, in their order."""
    first: dict[str, models.ScoredPoint] = {}
    for point in points:
        first.setdefault(group(point), point)
    return list(first.values())


async def nearest_products(
    store: VectorStore,
    collection: str,
    query: Query,
    *,
    condition: models.Filter | None,
    params: models.SearchParams,
    limit: int,
    min_score: float | None = None,
) -> list[models.ScoredPoint]:
    """The nearest variant of each product, best first; ties are ordered by product id."""
    asked = asked_for(limit)
    found: list[models.ScoredPoint] = []
    while len(found) < limit:
        seen = [group(point) for point in found]
        points = await store.nearest(
            collection,
            query,
            condition=narrowed(condition, none_of(seen)) if seen else condition,
            params=params,
            limit=asked,
            min_score=min_score,
        )
        found += best_of_each(points)
        if len(points) < asked:
            break
    return found[:limit]


async def count_more(
    store: VectorStore, info: CollectionInfo, condition: models.Filter | None, groups: Sequence[str]
) -> dict[str, int]:
    """How many more variants of each product match, besides one, by shared id. Products without more are left out."""
    if not info.variants or not groups:
        return {}
    different = list(dict.fromkeys(groups))
    counts = await store.facet(
        info.name, VARIANT_FIELD, condition=narrowed(condition, any_of(different)), limit=len(different)
    )
    return {str(one.value): one.count - 1 for one in counts if one.count > 1}
