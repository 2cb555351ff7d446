"""The whole search: embed the query, plan, find the nearest products, and add confidences, facets and hints."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from search_api.answers import Confidences
from search_api.products.service import Products
from search_api.search.by_garment import GarmentSearch
from search_api.search.by_picture import PictureSearch
from search_api.search.examples import Examples
from search_api.search.facets import check_facet, count_all
from search_api.search.finding import answer_of, complete, took_ms
from search_api.search.options import FacetOptions, MatchOptions, Pairs, SearchOptions, Target
from search_api.search.query_embedding import Asked, QueryEmbedder
from search_api.search.retrieval import Retrieval, Wanted
from search_api.search.several import query_of_examples, query_of_product, without_variants
from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeKind
from vitrine.qdrant.naming import Serving


class SearchService:
    """Searches by picture, product and examples."""

    def __init__(
        self, retrieval: Retrieval, embedder: QueryEmbedder, products: Products, confidences: Confidences
    ) -> None:
        self._retrieval = retrieval
        self._embedder = embedder
        self._products = products
        self._confidences = confidences
        self._pictures = PictureSearch(retrieval, embedder, confidences)
        self._garments = GarmentSearch(self._pictures)

    async def by_picture(self, picture: bytes, options: SearchOptions, filters: Pairs, asked: Asked) -> dict[str, Any]:
        """Search by a picture file: the whole, a part, one of its garments, or with `regions` each of them."""

        async def searched(serving: Serving) -> dict[str, Any]:
            prepared = await self._retrieval.prepare(
                serving, filters, group_by=options.group_by, one_of_each=options.one_of_each
            )
            if options.regions is not None:
                return await self._garments.each(picture, prepared, options, filters, asked)
            if options.garment is not None:
                return await self._garments.one(picture, prepared, options, asked, number=options.garment)
            return await self._pictures.search(picture, prepared, options, filters, asked)

        return await self._retrieval.in_serving(options, searched)

    async def regions(self, picture: bytes, target: Target, asked: Asked) -> dict[str, Any]:
        """The garments of a picture, with the filters of each that the dataset can use. Raises ParserNotFound."""
        return await self._garments.regions(picture, target, asked)

    async def parser(self) -> str | None:
        """The release that finds garments; None if the release store has none."""
        return await self._embedder.parser()

    async def similar(
        self, product_id: str, options: MatchOptions, filters: Pairs, *, started_s: float
    ) -> dict[str, Any]:
        """Search by the face of a product of the catalogue. It and its variants are excluded from the results."""

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
            found = await complete(self._retrieval, search, prepared, query, options, min_score=least)
            took = took_ms(started_s, searching_s, searching_s)
            return answer_of(serving, found, plan=plan, took=took, confidence=confidence)

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
            plan, points, (vectors, timings_ms) = await asyncio.gather(
                self._retrieval.plan(prepared),
                self._products.point_ids(serving, [*examples.positive, *examples.negative]),
                self._embedder.pictures(pictures, serving.release_id, asked),
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
            found = await complete(self._retrieval, search, prepared, query, options, min_score=options.min_score)
            started_s = embedding_s if pictures else searching_s
            took = took_ms(asked.started_s, started_s, searching_s, timings_ms=timings_ms)
            return answer_of(serving, found, plan=plan, took=took)

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
