"""A search from top to bottom: which dataset and release, the checked filters, the query's vector, the plan, and the
nearest products with how likely each of them is right.

A model is resolved to a release and its collection once, and everything after that uses the three together. Where the
collection has gone in between (an old release was removed), the whole is done once more with what serves now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from qdrant_client import models

from search_api.answers import Confidences, search_answer
from search_api.products.service import Products
from search_api.search.facets import BEST_COUNTED, MOST_COUNTED, count_facets, why_nothing, with_members
from search_api.search.options import Examples, FacetOptions, ListOptions, MatchOptions, Pairs, SearchOptions, Target
from search_api.search.rerank import PLAIN, Refinement, expanded, fused_search, reranked
from search_api.vector_store import CollectionInfo, Query, VectorStore
from vitrine.collections import Serving
from vitrine.embedding import AsyncEmbedderClient, Embedding
from vitrine.errors import (
    CollectionNotFound,
    DatasetNotFound,
    FilterInvalid,
    ParameterInvalid,
    ReleaseMismatch,
    ReleaseNotFound,
    VitrineError,
)
from vitrine.filters import FilterSpec, parse_filters
from vitrine.planner import Plan, Planner
from vitrine.products import check_dataset_name
from vitrine.reserved import HIDDEN_FIELDS

T = TypeVar("T")
# How often a refused filter may have the fields read anew.
_REREAD_INTERVAL_S: Final = 1.0
_PREDICTIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, by the name that the embedder is given, and since when (`time.perf_counter`)."""

    caller: str
    started_s: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A collection with a checked filter."""

    serving: Serving
    info: CollectionInfo
    spec: FilterSpec

    def with_spec(self, spec: FilterSpec) -> Prepared:
        """The same collection with another filter."""
        return replace(self, spec=spec)

    def without(self, field: str) -> Prepared:
        """The same without the conditions on one field."""
        return self.with_spec(FilterSpec({name: one for name, one in self.spec.fields.items() if name != field}))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which products to find: `top_k` after the first `offset`, from which similarity on, and one for each value of
    which field.
    """

    top_k: int
    min_score: float | None = None
    group_by: str | None = None
    offset: int = 0

    @classmethod
    def of(cls, options: ListOptions, min_score: float | None) -> Wanted:
        return cls(options.top_k, min_score, options.group_by, options.offset)

    @property
    def reach(self) -> int:
        """How many of the nearest must be known."""
        return self.offset + self.top_k


class Retrieval:
    """Filtered nearest-neighbour searches in the collections that serve."""

    def __init__(self, store: VectorStore, *, planner: Planner, default_dataset: str | None = None) -> None:
        self.store = store
        self._planner = planner
        self._default_dataset = default_dataset
        self._reread_s: dict[str, float] = {}  # by dataset, when a refused filter had the fields read anew

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
            now_s = time.monotonic()
            if now_s - self._reread_s.get(dataset, float("-inf")) < _REREAD_INTERVAL_S:
                raise
            self._reread_s[dataset] = now_s
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

    async def prepare_other(self, prepared: Prepared, model: str, filters: Pairs) -> Prepared:
        """The same filters in a second model's collection, read by its own fields: it may have been indexed when a
        column had another type. Raises ModelUnknown and FilterInvalid.
        """
        return await self.prepare(await self.store.resolve(prepared.serving.dataset, model), filters)

    async def matches(self, prepared: Prepared) -> int:
        """How many products the filters let through, as it was a short while ago."""
        if not prepared.spec:
            return prepared.info.points
        return await self.store.matches(prepared.info.name, prepared.spec)

    async def plan(self, prepared: Prepared) -> Plan:
        """How to search so that nothing near is missed, from the count of matches."""
        matches = await self.matches(prepared)
        return self._planner.choose(prepared.spec, expected_matches=matches, points=prepared.info.points)

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
                count = max(refine.rerank, wanted.reach)
                found = await self.candidates(prepared, query, count=count, plan=plan, min_score=wanted.min_score)
                first, rest = found[: refine.rerank], found[refine.rerank :]
                return [*reranked(query, first), *rest][wanted.offset : wanted.reach]
        condition = prepared.spec.compile()
        params = self._planner.params(plan, top_k=wanted.reach)
        if wanted.group_by is not None:
            found = await self.store.nearest_by_group(
                prepared.info.name,
                query,
                field=wanted.group_by,
                condition=condition,
                params=params,
                limit=wanted.reach,
                min_score=wanted.min_score,
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

    async def nearest_payloads(
        self, prepared: Prepared, query: Query, *, fields: Sequence[str], limit: int, min_score: float | None
    ) -> list[dict[str, Any]]:
        """These fields of the nearest products, in no particular order."""
        return await self.store.nearest_payloads(
            prepared.info.name,
            query,
            fields=fields,
            condition=prepared.spec.compile(),
            params=self._planner.params(await self.plan(prepared), top_k=limit),
            limit=limit,
            min_score=min_score,
        )


class SearchService:
    """Searches by pictures, products and examples."""

    def __init__(
        self,
        retrieval: Retrieval,
        embedder: AsyncEmbedderClient,
        products: Products,
        confidences: Confidences,
        *,
        timeout_s: float,
    ) -> None:
        self._retrieval = retrieval
        self._embedder = embedder
        self._products = products
        self._confidences = confidences
        self._timeout_s = timeout_s

    async def by_picture(self, picture: bytes, options: SearchOptions, filters: Pairs, asked: Asked) -> dict[str, Any]:
        """The answer to a search by a picture file."""

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(serving, filters, group_by=options.group_by)
            refined = bool(options.expand or options.rerank or options.fuse is not None)
            known = await self._confidences.of(
                serving.release_id, min_confidence=options.min_confidence, refined=refined
            )
            other = None
            if options.fuse is not None:
                other = await self._retrieval.prepare_other(prepared, options.fuse, filters)
            embedding_s = time.perf_counter()
            # The plan needs the filter alone, so it is made while the embedder works.
            seen, plan = await asyncio.gather(
                self._embed(picture, prepared, other, options, asked, deadline_s=self._left_s(asked, embedding_s)),
                self._retrieval.plan(prepared),
            )
            searching_s = time.perf_counter()
            confidence = known.asked(seen[0].familiar)
            least = confidence.min_score(options.min_score, options.min_confidence)
            wanted = Wanted.of(options, least)
            vector = seen[0].vector.tolist()
            if other is None:
                refine = Refinement(options.expand, options.expand_alpha, options.rerank)
                search = self._retrieval.nearest(prepared, vector, wanted, plan=plan, refine=refine)
            else:
                vectors = (vector, seen[1].vector.tolist())
                search = fused_search(
                    self._retrieval, (prepared, other), vectors, wanted, plan=plan, weight=options.fuse_weight
                )
            points, more = await self._with_facets(search, prepared, vector, options, min_score=least)
            more["predicted"] = [
                {"field": known.label, "label": one.label, "probability": one.probability} for one in seen[0].predicted
            ]
            decode_ms = seen[0].timings_ms.get("decode", 0.0)
            took_ms = _took_ms(asked, embedding_s, searching_s, decode_ms=decode_ms)
            answer = search_answer(serving, points, plan=plan, took_ms=took_ms, confidence=confidence)
            return with_members(answer, more)

        return await self._retrieval.in_serving(options, searched)

    async def similar(
        self, product_id: str, options: MatchOptions, filters: Pairs, *, started_s: float
    ) -> dict[str, Any]:
        """The products most like one of the catalogue, which is left out."""
        asked = Asked("", started_s)

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(serving, filters, group_by=options.group_by)
            confidence = await self._confidences.of(serving.release_id, min_confidence=options.min_confidence)
            plan = await self._retrieval.plan(prepared)
            [point] = await self._products.point_ids(serving, [product_id])
            searching_s = time.perf_counter()
            least = confidence.min_score(options.min_score, options.min_confidence)
            search = self._retrieval.nearest(prepared, point, Wanted.of(options, least), plan=plan)
            points, more = await self._with_facets(search, prepared, point, options, min_score=least)
            took_ms = _took_ms(asked, searching_s, searching_s)
            answer = search_answer(serving, points, plan=plan, took_ms=took_ms, confidence=confidence)
            return with_members(answer, more)

        return await self._retrieval.in_serving(options, searched)

    async def recommend(self, examples: Examples, asked: Asked) -> dict[str, Any]:
        """The products like the liked examples and unlike the disliked ones; the examples are left out."""
        options = examples.options
        pictures = [*examples.positive_pictures, *examples.negative_pictures]

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(serving, examples.filters, group_by=options.group_by)
            embedding_s = time.perf_counter()
            plan, points, (vectors, decode_ms) = await asyncio.gather(
                self._retrieval.plan(prepared),
                self._products.point_ids(serving, [*examples.positive, *examples.negative]),
                self._embed_all(pictures, serving, asked, deadline_s=self._left_s(asked, embedding_s)),
            )
            liked_ids, liked_pictures = len(examples.positive), len(examples.positive_pictures)
            query = models.RecommendQuery(
                recommend=models.RecommendInput(
                    positive=[*points[:liked_ids], *vectors[:liked_pictures]],
                    negative=[*points[liked_ids:], *vectors[liked_pictures:]],
                    strategy=models.RecommendStrategy.AVERAGE_VECTOR,
                )
            )
            searching_s = time.perf_counter()
            search = self._retrieval.nearest(prepared, query, Wanted.of(options, options.min_score), plan=plan)
            found, more = await self._with_facets(search, prepared, query, options, min_score=options.min_score)
            took_ms = _took_ms(asked, embedding_s if pictures else searching_s, searching_s, decode_ms=decode_ms)
            return with_members(search_answer(serving, found, plan=plan, took_ms=took_ms), more)

        return await self._retrieval.in_serving(options, searched)

    async def facets(self, fields: list[str], options: FacetOptions, filters: Pairs) -> dict[str, Any]:
        """How many products have each value of the fields, among those that the filters let through."""

        async def count(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(serving, filters)
            for field in fields:
                check_field(field, prepared.info, what="field")
            condition = prepared.spec.compile()
            counted = await asyncio.gather(
                *(
                    self._retrieval.store.facet(prepared.info.name, field, condition=condition, limit=options.limit)
                    for field in fields
                )
            )
            return {
                "success": True,
                "dataset": serving.dataset,
                "model": serving.model,
                "release": serving.release_id,
                "facets": {
                    field: [{"value": item.value, "count": item.count} for item in counts]
                    for field, counts in zip(fields, counted, strict=True)
                },
            }

        return await self._retrieval.in_serving(options, count)

    async def _with_facets(
        self,
        search: Awaitable[list[models.ScoredPoint]],
        prepared: Prepared,
        query: Query,
        options: ListOptions,
        *,
        min_score: float | None,
    ) -> tuple[list[models.ScoredPoint], dict[str, Any]]:
        """(the found points, the answer's members beside them). Facets are counted while the search is under way."""
        confident = isinstance(options, MatchOptions) and options.min_confidence is not None
        counted = count_facets(
            self._retrieval,
            prepared,
            query,
            options.facet_fields,
            min_score=min_score,
            count=MOST_COUNTED if confident else BEST_COUNTED,
        )
        points, more, total = await asyncio.gather(search, counted, self._retrieval.matches(prepared))
        if not points and not options.offset and prepared.spec:
            more |= await why_nothing(self._retrieval, prepared)
        return points, {"total": total, **more}

    def _left_s(self, asked: Asked, now_s: float) -> float:
        """Seconds of the request's time that are left for the embedder."""
        return self._timeout_s - (now_s - asked.started_s)

    async def _embed(
        self,
        picture: bytes,
        prepared: Prepared,
        other: Prepared | None,
        options: SearchOptions,
        asked: Asked,
        *,
        deadline_s: float,
    ) -> tuple[Embedding, ...]:
        """The picture as the release sees it, and as the second one does where there is one."""
        release_id = prepared.serving.release_id
        if other is not None:
            return await self._embedder.embed_for_both(
                picture,
                release_ids=(release_id, other.serving.release_id),
                views=options.views,
                region=options.picture_region,
                predict=_PREDICTIONS,
                caller=asked.caller,
                deadline_s=deadline_s,
            )
        seen = await self._embedder.embed(
            picture,
            release_id=release_id,
            views=options.views,
            region=options.picture_region,
            predict=_PREDICTIONS,
            caller=asked.caller,
            deadline_s=deadline_s,
        )
        return (seen,)

    async def _embed_all(
        self, pictures: list[bytes], serving: Serving, asked: Asked, *, deadline_s: float
    ) -> tuple[list[list[float]], float]:
        """(a vector for each picture, milliseconds of decoding), from one call. Raises the first picture's error."""
        if not pictures:
            return [], 0.0
        results, timings_ms = await self._embedder.embed_batch(
            pictures, release_id=serving.release_id, caller=asked.caller, deadline_s=deadline_s
        )
        vectors = []
        for result in results:
            if isinstance(result, VitrineError):
                raise result
            vectors.append(result.tolist())
        return vectors, timings_ms.get("decode", 0.0)


def check_field(field: str, info: CollectionInfo, *, what: str) -> str:
    """Return `field` where the collection has it indexed and its values can be told apart. Raises ParameterInvalid."""
    offered = sorted(name for name, kind in info.schema.items() if kind != "float" and name not in HIDDEN_FIELDS)
    if field not in offered:
        raise ParameterInvalid(
            f"{what} {field[:80]!r} is not a field to group by; the fields are: {', '.join(offered)}"
        )
    return field


def _took_ms(asked: Asked, embedding_s: float, searching_s: float, *, decode_ms: float = 0.0) -> dict[str, float]:
    """Milliseconds of each stage up to now."""
    found_s = time.perf_counter()
    return {
        "decode": decode_ms,
        "embed": max(0.0, (searching_s - embedding_s) * 1e3 - decode_ms),
        "search": (found_s - searching_s) * 1e3,
        "total": (found_s - asked.started_s) * 1e3,
    }
