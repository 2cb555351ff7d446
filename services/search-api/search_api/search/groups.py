"""Grouped searches: at most one product for each value of a field, the nearest one.

Qdrant groups keywords and integers. Lists, booleans, decimals and category paths are grouped here, and all fields where
no two results may be variants of one product: the nearest products are read, then again without the values that were
found, until there are enough groups or no product is left. So the answer is exact, however unevenly the values are
distributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from qdrant_client import models

from search_api.search.facets import MOST_LEVELS, narrowed
from search_api.search.variants import any_of, group
from search_api.vector_store import Query, VectorStore
from vitrine.errors import ParameterInvalid
from vitrine.kinds import LEVEL_SEPARATOR, filterable
from vitrine.products import AttributeKind
from vitrine.qdrant.filters import FieldFilter
from vitrine.qdrant.schema import CollectionInfo, field_key, json_path

_BY_QDRANT: Final = (AttributeKind.KEYWORD, AttributeKind.INTEGER)
_MATCHED: Final = (AttributeKind.KEYWORD, AttributeKind.KEYWORDS, AttributeKind.INTEGER)  # in one condition
_MOST_ASKED: Final = 1_000  # the limit of a collection's strict mode
_LEAST_ASKED: Final = 100
_ASKED_PER_GROUP: Final = 5
# Each needs a condition of its own, and strict mode limits these. The products of further values are excluded by id.
_MOST_EXCLUDED: Final = 100


def check_group(field: str, info: CollectionInfo) -> AttributeKind:
    """The kind of a field that products can be grouped by. Raises ParameterInvalid."""
    filters = info.filters
    offered = {name: kind for name, kind in filterable(filters).items() if kind is not AttributeKind.DATE}
    if field not in offered:
        why = "is not a field to group by"
        if field in filters:
            named = "a date" if filters[field] is AttributeKind.DATE else "free text"
            why = f"is {named}, which products cannot be grouped by"
        raise ParameterInvalid(f"groupBy {field[:80]!r} {why}; the fields are: {', '.join(sorted(offered))}")
    return offered[field]


async def nearest_by_group(
    store: VectorStore,
    info: CollectionInfo,
    query: Query,
    *,
    field: str,
    condition: models.Filter | None,
    params: models.SearchParams,
    limit: int,
    min_score: float | None = None,
    one_of_each: bool = False,
) -> list[models.ScoredPoint]:
    """The nearest product of each value of `field`, best first; ties are ordered by product id.

    Products without a value are left out. Of products with lists, no two share a value. Category paths are grouped by
    the whole path. With `one_of_each` no two are variants of one product.
    """
    kind = info.filters[field]
    if kind in _BY_QDRANT and not one_of_each:
        key = json_path(field)
        return await store.nearest_by_group(
            info.name, query, field=key, condition=condition, params=params, limit=limit, min_score=min_score
        )
    excluded = _Excluded(field, kind, await _levels(store, info, field) if kind is AttributeKind.PATH else ())
    asked = min(_MOST_ASKED, max(_LEAST_ASKED, limit * _ASKED_PER_GROUP))
    found: list[models.ScoredPoint] = []
    seen: set[Any] = set()
    products: set[str] = set()
    while len(found) < limit:
        points = await store.nearest(
            info.name,
            query,
            condition=narrowed(condition, excluded.filter()),
            params=params,
            limit=asked,
            min_score=min_score,
        )
        for point in points:
            value = (point.payload or {}).get(field)
            values = value if isinstance(value, list) else [value]
            if seen.isdisjoint(values) and group(point) not in products:
                found.append(point)
                seen.update(values)
                if one_of_each:
                    products.add(group(point))
        if len(points) < asked:
            break
        excluded.add(seen, points, products)
    return found[:limit]


async def _levels(store: VectorStore, info: CollectionInfo, field: str) -> Sequence[str]:
    key = json_path(field_key(field, AttributeKind.PATH))
    return [str(hit.value) for hit in await store.facet(info.name, key, condition=None, limit=MOST_LEVELS)]


class _Excluded:
    """The values that are grouped already, as a filter."""

    def __init__(self, field: str, kind: AttributeKind, levels: Sequence[str]) -> None:
        self._field = field
        self._kind = kind
        self._levels = levels
        self._values: list[Any] = []
        self._ids: set[models.ExtendedPointId] = set()
        self._products: set[str] = set()

    def add(self, values: set[Any], points: Sequence[models.ScoredPoint], products: set[str]) -> None:
        """Exclude these values, and the variants of these products. The products just read are excluded by id too, so
        that each round reads others.
        """
        self._products |= products
        self._values += [value for value in values if value not in self._values]
        if len(self._values) > _MOST_EXCLUDED or self._kind is AttributeKind.PATH:
            self._ids.update(point.id for point in points)

    def filter(self) -> models.Filter:
        key = json_path(field_key(self._field, self._kind))
        unwanted: list[models.Condition] = [models.IsEmptyCondition(is_empty=models.PayloadField(key=key))]
        values = self._values[:_MOST_EXCLUDED]
        if self._kind in _MATCHED and self._values:
            same = models.MatchAny(any=self._values)
            unwanted.append(models.FieldCondition(key=key, match=same))
        elif self._kind is AttributeKind.PATH:
            unwanted += [self._path(str(path)) for path in values]
        else:
            each = (FieldFilter(any_of=(value,), kind=self._kind).condition(self._field) for value in values)
            unwanted += [one for one in each if one is not None]
        if self._products:
            unwanted.append(any_of(self._products))
        if self._ids:
            unwanted.append(models.HasIdCondition(has_id=list(self._ids)))
        return models.Filter(must_not=unwanted)

    def _path(self, path: str) -> models.Condition:
        """The products of a path, without those of the paths below it."""
        is_path = FieldFilter(any_of=(path,), kind=self._kind).condition(self._field)
        assert is_path is not None
        below = tuple(level for level in self._levels if level.startswith(f"{path}{LEVEL_SEPARATOR}"))
        deeper = FieldFilter(any_of=below, kind=self._kind).condition(self._field) if below else None
        return models.Filter(must=[is_path], must_not=[deeper] if deeper is not None else None)
