"""From a query and its filters to the nearest products: which collection, by which plan, and the search itself.

A model is resolved to a release and its collection once, and everything after that uses the three together. Where the
collection has gone in between (an old release was removed), the whole is done once more with what serves now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from qdrant_client import models

from search_api.match_counts import MatchCounts
from search_api.options import Pairs, Target
from search_api.refinement import PLAIN, Refinement, expanded, reranked
from search_api.vector_store import CollectionInfo, Query, VectorStore
from vitrine.collections import Serving
from vitrine.errors import (
    CollectionNotFound,
    DatasetNotFound,
    FilterInvalid,
    ParameterInvalid,
    ReleaseMismatch,
    ReleaseNotFound,
)
from vitrine.filters import FilterSpec, parse_filters
from vitrine.planner import Plan, Planner
from vitrine.products import COMPOSITE_FIELD, check_dataset_name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A collection with a checked filter."""

    serving: Serving
    info: CollectionInfo
    spec: FilterSpec


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many products to find, from which similarity on, and one for each value of which field."""

    top_k: int
    min_score: float | None = None
    group_by: str | None = None


class Retrieval:
    """Searches in the collections that serve."""

    def __init__(
        self, store: VectorStore, counts: MatchCounts, *, planner: Planner, default_dataset: str | None = None
    ) -> None:
        self.store = store
        self._counts = counts
        self._planner = planner
        self._default_dataset = default_dataset

    async def dataset(self, named: str | None) -> str:
        """The dataset a call is about: the one it names, the configured one, or the only one that is served.

        Raises DatasetNotFound where nothing is served, ParameterInvalid where it could be any of several.
        """
        chosen = named if named is not None else self._default_dataset
        if chosen is not None:
            return check_dataset_name(chosen)
        for fresh in (False, True):
            served = sorted({serving.dataset for serving in await self.store.servings(fresh=fresh)})
            if len(served) == 1:
                return served[0]
        if not served:
            raise DatasetNotFound("no dataset is indexed yet")
        raise ParameterInvalid(f"several datasets are served; name one with 'dataset': {', '.join(served)}")

    async def in_serving(self, target: Target, action: Callable[[Serving], Awaitable[T]]) -> T:
        """Do `action` in what serves the target, and once more where that has just been removed or has other fields."""
        dataset = await self.dataset(target.dataset)
        serving = await self.store.resolve(dataset, target.model)
        try:
            return await action(serving)
        except (CollectionNotFound, ReleaseNotFound):
            await self.store.servings(fresh=True)
            again = await self.store.resolve(dataset, target.model)
            if again == serving:
                raise
            return await action(again)
        except (FilterInvalid, ParameterInvalid):
            # An indexing that has just ended may have added the field: once more with what is there now.
            await self.store.servings(fresh=True)
            again = await self.store.resolve(dataset, target.model)
            await self.store.collection(again.collection, fresh=True)
            return await action(again)

    async def prepare(self, serving: Serving, filters: Pairs, *, group_by: str | None = None) -> Prepared:
        """Check the filters against the collection's fields. Raises FilterInvalid and ParameterInvalid."""
        info = await self.store.collection(serving.collection)
        if group_by is not None:
            check_field(group_by, info, what="groupBy")
        return Prepared(serving, info, parse_filters(filters, info.schema))

    async def plan(self, prepared: Prepared) -> Plan:
        """How to search so that nothing near is missed, from the count of matches."""
        points = prepared.info.points
        matches = points
        if prepared.spec:
            matches = await self._counts.of(prepared.info.name, prepared.spec)
        return self._planner.choose(prepared.spec, expected_matches=matches, points=points)

    async def nearest(
        self, prepared: Prepared, query: Query, wanted: Wanted, *, plan: Plan, refine: Refinement = PLAIN
    ) -> list[models.ScoredPoint]:
        """The nearest products to a vector, to a product (by its point id) or to examples, best first.

        A vector may be refined. Its expansion is computed here and not by Qdrant, whose query by examples leaves the
        examples out of the answer.
        """
        if isinstance(query, list):
            if len(query) != prepared.info.dim:
                raise ReleaseMismatch(
                    f"the vector has {len(query)} components and the collection {prepared.info.name!r} "
                    f"{prepared.info.dim}"
                )
            if refine.expand:
                neighbours = await self.candidates(prepared, query, count=refine.expand, plan=plan)
                query = expanded(query, neighbours, refine.alpha)
            if refine.rerank:
                count = max(refine.rerank, wanted.top_k)
                found = await self.candidates(prepared, query, count=count, plan=plan, min_score=wanted.min_score)
                first, rest = found[: refine.rerank], found[refine.rerank :]
                return [*reranked(query, first), *rest][: wanted.top_k]
        condition = prepared.spec.compile()
        params = self._planner.params(plan, top_k=wanted.top_k)
        if wanted.group_by is not None:
            return await self.store.nearest_by_group(
                prepared.info.name,
                query,
                field=wanted.group_by,
                condition=condition,
                params=params,
                limit=wanted.top_k,
                min_score=wanted.min_score,
            )
        return await self.store.nearest(
            prepared.info.name,
            query,
            condition=condition,
            params=params,
            limit=wanted.top_k,
            min_score=wanted.min_score,
        )

    async def candidates(
        self,
        prepared: Prepared,
        vector: list[float],
        *,
        count: int,
        plan: Plan,
        min_score: float | None = None,
        with_vectors: bool = True,
    ) -> list[models.ScoredPoint]:
        """The `count` nearest products, with their vectors unless not wanted, best first."""
        return await self.store.nearest(
            prepared.info.name,
            vector,
            condition=prepared.spec.compile(),
            params=self._planner.params(plan, top_k=count),
            limit=count,
            min_score=min_score,
            with_vectors=with_vectors,
        )


def check_field(field: str, info: CollectionInfo, *, what: str) -> str:
    """Return `field` where the collection has it indexed and its values can be told apart. Raises ParameterInvalid."""
    offered = sorted(name for name, kind in info.schema.items() if kind != "float" and name != COMPOSITE_FIELD)
    if field not in offered:
        raise ParameterInvalid(
            f"{what} {field[:80]!r} is not a field to group by; the fields are: {', '.join(offered)}"
        )
    return field
