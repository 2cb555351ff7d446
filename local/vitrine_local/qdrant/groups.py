"""Grouped search: the best points of each value of a payload field.

The engine has no such query, so several are made. The first rounds find the groups, each round without the values found
so far. Further rounds fill the groups that have too few points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Collection
from vitrine_local.qdrant.engine import engine_errors
from vitrine_local.qdrant.errors import Unsupported, ValidationFailed
from vitrine_local.qdrant.filters import excluding
from vitrine_local.qdrant.queries import (
    Scored,
    checked_filter,
    checked_limit,
    engine_query,
    payload_selector,
    search_params,
    vector_selector,
)

_DEFAULT_GROUP_SIZE: Final = 3
# A round usually finds all groups, and at least one new group or the end. The bound limits the time of one request.
_MAX_ROUNDS: Final = 16
GroupKey = str | int


class GroupSearch:
    """One grouped search. Raises QdrantError."""

    def __init__(self, collection: Collection, request: models.QueryGroupsRequest) -> None:
        if request.with_lookup is not None:
            raise Unsupported("with_lookup")
        if "[" in request.group_by or "." in request.group_by:
            raise Unsupported("group_by of a nested field")
        self._collection = collection
        self._request = request
        self._groups_wanted = checked_limit(request.limit)
        self._group_size = _DEFAULT_GROUP_SIZE if request.group_size is None else request.group_size
        if self._group_size < 1:
            raise ValidationFailed(f"[group_size: value {self._group_size} invalid, must be 1 or larger]")
        collection.strict_mode.check_limit(self._groups_wanted * self._group_size)
        condition = checked_filter(collection, request)
        query = engine_query(collection, request.query)
        self._query = query.query
        self._params = search_params(request.params)
        self._condition = excluding(condition, query.examples)
        self._hits: dict[GroupKey, Scored] = {}
        self._seen: set[Any] = set()

    def run(self) -> list[tuple[GroupKey, Scored]]:
        """The groups, best first, each with its hits, best first. Payload and vectors come from `records`."""
        for _ in range(_MAX_ROUNDS):
            if len(self._hits) >= self._groups_wanted or self._round(without=list(self._hits)):
                break
        # Hits come best first, so the first groups found are the best.
        self._hits = dict(list(self._hits.items())[: self._groups_wanted])
        for _ in range(_MAX_ROUNDS):
            short = [key for key, hits in self._hits.items() if len(hits) < self._group_size]
            if not short or self._group_size == 1 or self._round(only=short):
                break
        return list(self._hits.items())

    def records(self, groups: Sequence[tuple[GroupKey, Scored]]) -> dict[Any, edge.Record]:
        """Requested payload and vectors of the hits, by point id."""
        ids = list({hit.id for _, hits in groups for hit in hits})
        with engine_errors():
            found = self._collection.shard.retrieve(
                ids,
                payload_selector(self._request.with_payload, default=False),
                vector_selector(self._request.with_vector),
            )
        return {record.id: record for record in found}

    def _round(self, *, without: Sequence[GroupKey] = (), only: Sequence[GroupKey] = ()) -> bool:
        """Run one more query. Returns True if no more points match."""
        limit = self._groups_wanted * self._group_size
        key = self._request.group_by
        must: list[Any] = [self._condition] if self._condition is not None else []
        must_not: list[Any] = [edge.IsEmptyCondition(key), *_any_of(key, without)]
        if only:
            must.append(edge.Filter(should=_any_of(key, only)))
            must_not.append(edge.HasIdCondition(cast(Any, set(self._seen))))
        with engine_errors():
            found = self._collection.shard.query(
                edge.QueryRequest(
                    limit=limit,
                    query=self._query,
                    with_payload=edge.PayloadSelector.Include([key]),
                    filter=edge.Filter(must=must, must_not=must_not),
                    score_threshold=self._request.score_threshold,
                    params=self._params,
                )
            )
        for hit in found:
            self._seen.add(hit.id)
            for value in _group_keys((hit.payload or {}).get(key)):
                if value in without or (only and value not in only):
                    continue
                hits = self._hits.setdefault(value, [])
                if len(hits) < self._group_size and all(known.id != hit.id for known in hits):
                    hits.append(hit)
        return len(found) < limit


def _group_keys(value: Any) -> list[GroupKey]:
    """The groups of a payload value. A list puts the point into several."""
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str | int) and not isinstance(each, bool)]


def _any_of(key: str, values: Sequence[GroupKey]) -> list[Any]:
    """Conditions of which one holds for every point in any of the groups."""
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int)]
    return [edge.FieldCondition(key, match=edge.MatchAny(cast(Any, each))) for each in (texts, numbers) if each]
