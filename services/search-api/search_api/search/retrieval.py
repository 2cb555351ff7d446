"""Filtered nearest-neighbour searches in the serving collections.

A request resolves its model to a release and collection once and uses these throughout. If the collection is removed
meanwhile, the whole request is repeated once with the collection that serves now.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from qdrant_client import models

from search_api.search.groups import check_group, nearest_by_group
from search_api.search.options import ListOptions, Pairs, Target
from search_api.search.rerank import PLAIN, Refinement, expanded, reranked
from search_api.search.variants import any_of, asked_for, nearest_products
from search_api.vector_store import Query, VectorStore
from vitrine.errors import (
    CollectionNotFound,
    DatasetNotFound,
    FilterInvalid,
    ParameterInvalid,
    ReleaseMismatch,
    ReleaseNotFound,
)
from vitrine.products import check_dataset_name
from vitrine.qdrant.filters import FilterSpec, parse_filters
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.schema import CollectionInfo

T = TypeVar("T")
# Minimum time between reloads of the fields because of a refused filter.
_REREAD_INTERVAL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A collection and a filter that was checked against its fields. Points in `excluded` are not found, nor are
    variants of the products `excluded_groups`.

    `one_of_each`: of each product, only the nearest variant is found.
    """

    serving: Serving
    info: CollectionInfo
    spec: FilterSpec
    excluded: tuple[str, ...] = ()
    one_of_each: bool = False
    excluded_groups: tuple[str, ...] = ()

    @property
    def condition(self) -> models.Filter | None:
        """The condition of a search."""
        own = self.spec.compile()
        unwanted: list[models.Condition] = []
        if self.excluded:
            unwanted.append(models.HasIdCondition(has_id=list(self.excluded)))
        if self.excluded_groups:
            unwanted.append(any_of(self.excluded_groups))
        if not unwanted:
            return own
        return models.Filter(must=[own] if own is not None else None, must_not=unwanted)

    def with_spec(self, spec: FilterSpec) -> Prepared:
        """The same collection with another filter."""
        return replace(self, spec=spec)

    def without(self, field: str) -> Prepared:
        """The same collection without the conditions on one field."""
        return self.with_spec(FilterSpec({name: one for name, one in self.spec.fields.items() if name != field}))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The products to find: `top_k` after the first `offset`, with a minimum score, optionally one per group."""

    top_k: int
    min_score: float | None = None
    group_by: str | None = None
    offset: int = 0

    @classmethod
    def of(cls, options: ListOptions, min_score: float | None) -> Wanted:
        return cls(options.top_k, min_score, options.group_by, options.offset)

    @property
    def reach(self) -> int:
        """How many of the nearest products are needed."""
        return self.offset + self.top_k


class Retrieval:
    """Searches in the serving collections."""

    def __init__(self, store: VectorStore, *, planner: Planner, default_dataset: str | None = None) -> None:
        self.store = store
        self._planner = planner
        self._default_dataset = default_dataset
        self._reread_s: dict[str, float] = {}  # by dataset, when a refused filter last reloaded the fields

    async def dataset(self, named: str | None) -> str:
        """The dataset of a call: the named one, the configured one, or the only one that is served.

        Raises DatasetNotFound if none is served, ParameterInvalid if it is ambiguous.
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
        """Run `action` with the serving collection. If that was removed or its fields changed, run it again."""
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
            # An indexing that just ended may have added the field.
            now_s = time.monotonic()
            if now_s - self._reread_s.get(dataset, float("-inf")) < _REREAD_INTERVAL_S:
                raise
            self._reread_s[dataset] = now_s
            await self.store.servings(fresh=True)
            again = await self.store.resolve(dataset, target.model)
            await self.store.collection(again.collection, fresh=True)
            return await action(again)

    async def prepare(
        self, serving: Serving, filters: Pairs, *, group_by: str | None = None, one_of_each: bool = False
    ) -> Prepared:
        """Check the filters against the collection's fields. Raises FilterInvalid and ParameterInvalid.

        `one_of_each` makes a difference in a collection with variants only.
        """
        info = await self.store.collection(serving.collection)
        if group_by is not None:
            check_group(group_by, info)
        return Prepared(serving, info, parse_filters(filters, info.filters), one_of_each=one_of_each and info.variants)

    async def prepare_other(self, prepared: Prepared, model: str, filters: Pairs) -> Prepared:
        """The same filters for a second model's collection. Its fields may have other types, if the catalogue changed
        between the indexings. Raises ModelUnknown and FilterInvalid.
        """
        serving = await self.store.resolve(prepared.serving.dataset, model)
        return await self.prepare(serving, filters, one_of_each=prepared.one_of_each)

    async def matches(self, prepared: Prepared) -> int:
        """How many points match the filters, possibly a few seconds old."""
        if not prepared.spec:
            return prepared.info.points
        return await self.store.matches(prepared.info.name, prepared.spec)

    async def total(self, prepared: Prepared) -> int:
        """How many products match the filters, as a search shows them: one of each, or each variant."""
        matches = await self.matches(prepared)
        if not prepared.one_of_each:
            return matches
        return await self.store.products(prepared.info.name, prepared.spec, matches=matches)

    async def plan(self, prepared: Prepared) -> Plan:
        """The search plan for the number of matches."""
        matches = await self.matches(prepared)
        info = prepared.info
        return self._planner.choose(prepared.spec, expected_matches=matches, points=info.points, measured=info.measured)

    async def nearest(
        self, prepared: Prepared, query: Query, wanted: Wanted, *, plan: Plan, refine: Refinement = PLAIN
    ) -> list[models.ScoredPoint]:
        """The nearest products to a vector, a product (by point id) or examples, best first.

        A vector may be refined. Query expansion is computed here, because Qdrant's query by examples excludes the
        examples from the result.
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
                count = max(refine.rerank, wanted.reach)
                found = await self.candidates(prepared, query, count=count, plan=plan, min_score=wanted.min_score)
                first, rest = found[: refine.rerank], found[refine.rerank :]
                return [*reranked(query, first), *rest][wanted.offset : wanted.reach]
        condition = prepared.condition
        params = self._params(prepared, plan, wanted.reach)
        if wanted.group_by is None and prepared.one_of_each:
            found = await self._one_of_each(prepared, query, wanted.reach, plan=plan, min_score=wanted.min_score)
            return found[wanted.offset :]
        if wanted.group_by is not None:
            found = await nearest_by_group(
                self.store,
                prepared.info,
                query,
                field=wanted.group_by,
                condition=condition,
                params=params,
                limit=wanted.reach,
                min_score=wanted.min_score,
                one_of_each=prepared.one_of_each,
            )
        else:
            found = await self.store.nearest(
                prepared.info.name,
                query,
                condition=condition,
                params=params,
                limit=wanted.reach,
                min_score=wanted.min_score,
            )
        return found[wanted.offset :]

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
        """The `count` nearest products, best first, by default with vectors."""
        if prepared.one_of_each:
            found = await self._one_of_each(prepared, vector, count, plan=plan, min_score=min_score)
            return await self._with_vectors(prepared, found) if with_vectors else found
        return await self.store.nearest(
            prepared.info.name,
            vector,
            condition=prepared.condition,
            params=self._params(prepared, plan, count),
            limit=count,
            min_score=min_score,
            with_vectors=with_vectors,
        )

    async def nearest_payloads(
        self, prepared: Prepared, query: Query, *, fields: Sequence[str], limit: int, min_score: float | None
    ) -> list[dict[str, Any]]:
        """These fields of the nearest products, in no particular order."""
        return await self.store.nearest_payloads(
            prepared.info.name,
            query,
            fields=fields,
            condition=prepared.condition,
            params=self._params(prepared, await self.plan(prepared), limit),
            limit=limit,
            min_score=min_score,
        )

    async def _one_of_each(
        self, prepared: Prepared, query: Query, limit: int, *, plan: Plan, min_score: float | None
    ) -> list[models.ScoredPoint]:
        return await nearest_products(
            self.store,
            prepared.info.name,
            query,
            condition=prepared.condition,
            params=self._params(prepared, plan, asked_for(limit)),
            limit=limit,
            min_score=min_score,
        )

    async def _with_vectors(self, prepared: Prepared, points: Sequence[models.ScoredPoint]) -> list[models.ScoredPoint]:
        """The points with their vectors, without those that were removed meanwhile."""
        vectors = await self.store.vectors(prepared.info.name, [str(point.id) for point in points])
        return [
            point.model_copy(update={"vector": vectors[str(point.id)].tolist()})
            for point in points
            if str(point.id) in vectors
        ]

    def _params(self, prepared: Prepared, plan: Plan, top_k: int) -> models.SearchParams:
        return self._planner.params(plan, top_k=top_k, info=prepared.info, spec=prepared.spec)
