"""The whole search: embed the query, plan, find the nearest products, and add confidences, facets and hints."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdrant_client import models

from search_api.answers import UNKNOWN, Confidence, Confidences, search_answer, with_members
from search_api.products.service import Products
from search_api.search.examples import Examples
from search_api.search.facets import BEST_COUNTED, MOST_COUNTED, check_facet, count_all, count_facets, why_nothing
from search_api.search.options import FacetOptions, ListOptions, MatchOptions, Pairs, SearchOptions
from search_api.search.rerank import Refinement, fused_search
from search_api.search.retrieval import Prepared, Retrieval, Wanted
from search_api.search.several import matched_pictures, query_of_examples, query_of_product, without_variants
from search_api.search.variants import count_more, group
from search_api.vector_store import Query
from vitrine.embedding import AsyncEmbedderClient, Embedding
from vitrine.errors import ParameterInvalid, VitrineError
from vitrine.products import AttributeKind
from vitrine.qdrant.naming import Serving

_PREDICTIONS: Final = 5
_MOST_SEEN: Final = 512


@dataclass(frozen=True, slots=True)
class Asked:
    """The caller as the embedder knows it, and the start of the request (`time.perf_counter`).

    `upload` is the id of a stored picture. Its embedding is cached, because pages search with it repeatedly.
    """

    caller: str
    started_s: float
    upload: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The points of a search, with the picture of each that matched and how many more variants match, by point id.

    `more` has further members of the answer.
    """

    points: list[models.ScoredPoint]
    matched: dict[str, int]
    variants: dict[str, int]
    more: dict[str, Any]


class SearchService:
    """Searches by picture, product and examples."""

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
        self._seen: OrderedDict[tuple[str, str, str, str | None], Embedding] = OrderedDict()

    async def by_picture(self, picture: bytes, options: SearchOptions, filters: Pairs, asked: Asked) -> dict[str, Any]:
        """Search by a picture file."""

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(
                serving, filters, group_by=options.group_by, one_of_each=options.one_of_each
            )
            refined = bool(options.expand or options.rerank or options.fuse is not None)
            known = await self._confidences.of(
                serving.release_id, min_confidence=options.min_confidence, refined=refined
            )
            other = None
            if options.fuse is not None:
                other = await self._retrieval.prepare_other(prepared, options.fuse, filters)
            embedding_s = time.perf_counter()
            # The plan needs only the filter, so it is made while the embedder works.
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
            found = await self._with_facets(search, prepared, vector, options, min_score=least)
            found.more["predicted"] = [
                {"field": known.label, "label": one.label, "probability": one.probability} for one in seen[0].predicted
            ]
            decode_ms = seen[0].timings_ms.get("decode", 0.0)
            took_ms = _took_ms(asked, embedding_s, searching_s, decode_ms=decode_ms)
            return _answer(serving, found, plan=plan, took_ms=took_ms, confidence=confidence)

        return await self._retrieval.in_serving(options, searched)

    async def similar(
        self, product_id: str, options: MatchOptions, filters: Pairs, *, started_s: float
    ) -> dict[str, Any]:
        """Search by the face of a product of the catalogue. It and its variants are excluded from the results."""
        asked = Asked("", started_s)

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(
                serving, filters, group_by=options.group_by, one_of_each=options.one_of_each
            )
            confidence = await self._confidences.of(serving.release_id, min_confidence=options.min_confidence)
            plan = await self._retrieval.plan(prepared)
            [point] = await self._products.point_ids(serving, [product_id])
            searching_s = time.perf_counter()
            prepared = await without_variants(self._retrieval.store, prepared, [point])
            prepared, query = await query_of_product(self._retrieval.store, prepared, point)
            least = confidence.min_score(options.min_score, options.min_confidence)
            search = self._retrieval.nearest(prepared, query, Wanted.of(options, least), plan=plan)
            found = await self._with_facets(search, prepared, query, options, min_score=least)
            took_ms = _took_ms(asked, searching_s, searching_s)
            return _answer(serving, found, plan=plan, took_ms=took_ms, confidence=confidence)

        return await self._retrieval.in_serving(options, searched)

    async def recommend(self, examples: Examples, asked: Asked) -> dict[str, Any]:
        """Search by liked and disliked examples. They and their variants are excluded from the results."""
        options = examples.options
        pictures = [*examples.positive_pictures, *examples.negative_pictures]

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(
                serving, examples.filters, group_by=options.group_by, one_of_each=options.one_of_each
            )
            embedding_s = time.perf_counter()
            plan, points, (vectors, decode_ms) = await asyncio.gather(
                self._retrieval.plan(prepared),
                self._products.point_ids(serving, [*examples.positive, *examples.negative]),
                self._embed_all(pictures, serving, asked, deadline_s=self._left_s(asked, embedding_s)),
            )
            liked_ids, liked_pictures = len(examples.positive), len(examples.positive_pictures)
            searching_s = time.perf_counter()
            prepared = await without_variants(self._retrieval.store, prepared, points)
            prepared, query = await query_of_examples(
                self._retrieval.store,
                prepared,
                [*points[:liked_ids], *vectors[:liked_pictures]],
                [*points[liked_ids:], *vectors[liked_pictures:]],
            )
            search = self._retrieval.nearest(prepared, query, Wanted.of(options, options.min_score), plan=plan)
            found = await self._with_facets(search, prepared, query, options, min_score=options.min_score)
            took_ms = _took_ms(asked, embedding_s if pictures else searching_s, searching_s, decode_ms=decode_ms)
            return _answer(serving, found, plan=plan, took_ms=took_ms)

        return await self._retrieval.in_serving(options, searched)

    async def facets(self, fields: list[str], options: FacetOptions, filters: Pairs) -> dict[str, Any]:
        """Count the values of fields among all products that match the filters."""

        async def count(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(serving, filters)
            kinds = {field: check_facet(field, prepared.info) for field in fields}
            if options.under is not None and AttributeKind.PATH not in kinds.values():
                raise ParameterInvalid("'under' needs a field of category paths")
            store = self._retrieval.store
            counted = await asyncio.gather(
                *(
                    count_all(store, prepared, field, kind, limit=options.limit, under=options.under)
                    for field, kind in kinds.items()
                )
            )
            return {
                "success": True,
                "dataset": serving.dataset,
                "model": serving.model,
                "release": serving.release_id,
                "facets": {field: one.counts for field, one in zip(fields, counted, strict=True)},
                "withoutValue": {field: one.without for field, one in zip(fields, counted, strict=True)},
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
    ) -> Found:
        """The points of a search and the rest of its answer. Facets are counted concurrently."""
        total = self._retrieval.total(prepared)
        if options.facets:
            confident = isinstance(options, MatchOptions) and options.min_confidence is not None
            counted = count_facets(
                self._retrieval,
                prepared,
                query,
                options.facet_fields,
                min_score=min_score,
                count=MOST_COUNTED if confident else BEST_COUNTED,
            )
            points, matches, facets = await asyncio.gather(search, total, counted)
        else:
            (points, matches), facets = await asyncio.gather(search, total), {}
        more: dict[str, Any] = {"total": matches, **facets}
        if not points and not options.offset and prepared.spec:
            more |= await why_nothing(self._retrieval, prepared)
        matched = await matched_pictures(self._retrieval.store, prepared, query, points)
        return Found(points, matched, await self._variants(prepared, points), more)

    async def _variants(self, prepared: Prepared, points: Sequence[models.ScoredPoint]) -> dict[str, int]:
        """How many more variants of each point match, by point id."""
        if not prepared.one_of_each:
            return {}
        groups = {str(point.id): group(point) for point in points}
        counts = await count_more(self._retrieval.store, prepared.info, prepared.condition, list(groups.values()))
        return {point: counts[one] for point, one in groups.items() if one in counts}

    def _left_s(self, asked: Asked, now_s: float) -> float:
        """The seconds that remain of the request's timeout."""
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
        """Embed the picture with the release, and with the second one if there is one."""
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
        key = (asked.upload or "", release_id, options.views, options.region)
        known = self._seen.get(key) if asked.upload else None
        if known is not None:
            self._seen.move_to_end(key)
            return (known,)
        seen = await self._embedder.embed(
            picture,
            release_id=release_id,
            views=options.views,
            region=options.picture_region,
            predict=_PREDICTIONS,
            caller=asked.caller,
            deadline_s=deadline_s,
        )
        if asked.upload:
            self._seen[key] = seen
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)
        return (seen,)

    async def _embed_all(
        self, pictures: list[bytes], serving: Serving, asked: Asked, *, deadline_s: float
    ) -> tuple[list[list[float]], float]:
        """(a vector for each picture, decoding time in ms), in one call. Raises the first picture's error."""
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


def _answer(
    serving: Serving,
    found: Found,
    *,
    plan: str,
    took_ms: dict[str, float],
    confidence: Confidence = UNKNOWN,
) -> dict[str, Any]:
    answer = search_answer(
        serving, found.points, found.matched, found.variants, plan=plan, took_ms=took_ms, confidence=confidence
    )
    return with_members(answer, found.more)


def _took_ms(asked: Asked, embedding_s: float, searching_s: float, *, decode_ms: float = 0.0) -> dict[str, float]:
    """Milliseconds of each stage so far."""
    found_s = time.perf_counter()
    return {
        "decode": decode_ms,
        "embed": max(0.0, (searching_s - embedding_s) * 1e3 - decode_ms),
        "search": (found_s - searching_s) * 1e3,
        "total": (found_s - asked.started_s) * 1e3,
    }
