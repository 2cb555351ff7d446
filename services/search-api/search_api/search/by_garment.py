"""Searches by the garments of a picture: one by its number, or each of them in one call ("shop the look").

All garments are cut out and embedded from one decoding of the picture. Each is searched with the filters of its kind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from search_api.search.by_picture import PictureSearch
from search_api.search.finding import answer_of, took_ms
from search_api.search.garments import filters_of_kind, garment_answer, is_nothing_like, of_kind
from search_api.search.options import MAX_GARMENTS, Pairs, SearchOptions, Target
from search_api.search.query_embedding import Asked, SeenGarments
from search_api.search.retrieval import Prepared
from vitrine.errors import DatasetNotFound, ModelUnknown, ParameterInvalid
from vitrine.qdrant.naming import Serving

NO_GARMENT: Final = "no garment was found in the picture: these are the products most like the whole picture"
NO_SURE_GARMENT: Final = (
    "no garment in the picture is as probable as minProbability: these are the products most like the whole picture"
)
# Members of an answer that a look has once, not for each garment.
_OF_THE_LOOK: Final = frozenset({"success", "dataset", "model", "release", "tookMs"})


@dataclass(frozen=True, slots=True)
class GarmentSearch:
    """Searches by garments in prepared collections."""

    pictures: PictureSearch

    async def regions(self, picture: bytes, target: Target, asked: Asked) -> dict[str, Any]:
        """The garments of a picture, with the filters of each that the dataset can use.

        A dataset or model that is not named need not be served: then there are no filters. Raises ParserNotFound.
        """
        started_s = time.perf_counter()
        found = await self.pictures.embedder.regions(picture, asked)
        searching_s = time.perf_counter()
        retrieval = self.pictures.retrieval
        kinds = sorted({garment.kind for garment in found.garments if garment.searchable})

        async def filtered(serving: Serving) -> dict[str, dict[str, list[str]]]:
            prepared = await retrieval.prepare(serving, [])
            filters = await asyncio.gather(*(filters_of_kind(retrieval, prepared, kind) for kind in kinds))
            return dict(zip(kinds, filters, strict=True))

        filters: Mapping[str, dict[str, list[str]]] = {}
        try:
            filters = await retrieval.in_serving(target, filtered)
        except (DatasetNotFound, ModelUnknown, ParameterInvalid):
            if target.dataset is not None or target.model is not None:
                raise
        took = took_ms(asked.started_s, started_s, searching_s, timings_ms=found.timings_ms)
        return {
            "success": True,
            "parser": found.release_id,
            "width": found.width_px,
            "height": found.height_px,
            "garments": [garment_answer(one, filters.get(one.kind, {})) for one in found.garments],
            "tookMs": took,
        }

    async def one(
        self, picture: bytes, prepared: Prepared, options: SearchOptions, asked: Asked, *, number: int
    ) -> dict[str, Any]:
        """The answer to a search with one garment. Raises ParserNotFound, GarmentUnknown."""
        embedding_s = time.perf_counter()
        seen = await self._seen(picture, prepared, options, asked, number=number)
        searching_s = time.perf_counter()
        answer, garment = await self._search(prepared, seen, options, number=number)
        took = took_ms(asked.started_s, embedding_s, searching_s, timings_ms=seen.regions.timings_ms)
        answer["tookMs"] = took
        return {**answer, "parser": seen.regions.release_id, "garment": garment}

    async def each(
        self, picture: bytes, prepared: Prepared, options: SearchOptions, filters: Pairs, asked: Asked
    ) -> dict[str, Any]:
        """The answer to a search with every garment that is probable enough, whose own ranking is that of the first.

        Without any, it is that of the whole picture, and `hints` says so. Raises ParserNotFound.
        """
        embedding_s = time.perf_counter()
        seen = await self._seen(picture, prepared, options, asked)
        searching_s = time.perf_counter()
        found = seen.regions
        about = {"parser": found.release_id, "width": found.width_px, "height": found.height_px}
        sure = [one for one in seen.embeddings if seen.garment(one).probability >= options.min_probability]
        numbers = sure[:MAX_GARMENTS]
        if not numbers:
            answer = await self.pictures.search(picture, prepared, options, filters, asked)
            hint = NO_SURE_GARMENT if seen.embeddings else NO_GARMENT
            return {**answer, **about, "garments": [], "hints": [hint, *answer.get("hints", ())]}
        answers = await asyncio.gather(*(self._search(prepared, seen, options, number=number) for number in numbers))
        took = took_ms(asked.started_s, embedding_s, searching_s, timings_ms=found.timings_ms)
        garments = [
            {**garment, **{name: value for name, value in answer.items() if name not in _OF_THE_LOOK}}
            for answer, garment in answers
        ]
        first = {**answers[0][0], "tookMs": took}
        return {**first, **about, "garments": garments}

    async def _seen(
        self, picture: bytes, prepared: Prepared, options: SearchOptions, asked: Asked, *, number: int | None = None
    ) -> SeenGarments:
        await self.pictures.confidence_of(prepared, options)  # refuses what cannot be, before the work
        return await self.pictures.embedder.garments(
            picture, prepared.serving.release_id, options, asked, number=number
        )

    async def _search(
        self, prepared: Prepared, seen: SeenGarments, options: SearchOptions, *, number: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """(the answer to a search with one garment, the garment with the filters that were applied)."""
        pictures, garment, embedding = self.pictures, seen.garment(number), seen.embeddings[number]
        filters = await filters_of_kind(pictures.retrieval, prepared, garment.kind) if options.kind_filters else {}
        narrowed = of_kind(prepared, filters)
        known = await pictures.confidence_of(prepared, options)
        confidence = known.asked(embedding.familiar)
        plan = await pictures.retrieval.plan(narrowed)
        found = await pictures.nearest(narrowed, embedding, confidence, options, plan=plan)
        if not options.offset:
            found.more["nothingLikeThis"] = is_nothing_like(found.points, confidence)
        answer = answer_of(prepared.serving, found, plan=plan, took={}, confidence=confidence)
        return answer, garment_answer(garment, filters)
