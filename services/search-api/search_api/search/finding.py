"""The rest of a search's answer, beside its points: totals, facets, hints, which picture matched, and variants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdrant_client import models

from search_api.answers import UNKNOWN, Confidence, search_answer, with_members
from search_api.search.facets import BEST_COUNTED, MOST_COUNTED, count_facets, why_nothing
from search_api.search.options import ListOptions, MatchOptions
from search_api.search.retrieval import Prepared, Retrieval
from search_api.search.several import matched_pictures
from search_api.search.variants import count_more, group
from search_api.vector_store import Query
from vitrine.qdrant.naming import Serving

_MS_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """The points of a search, with the picture of each that matched and how many more variants match, by point id.

    `more` has further members of the answer.
    """

    points: list[models.ScoredPoint]
    matched: dict[str, int]
    variants: dict[str, int]
    more: dict[str, Any]


async def complete(
    retrieval: Retrieval,
    search: Awaitable[list[models.ScoredPoint]],
    prepared: Prepared,
    query: Query,
    options: ListOptions,
    *,
    min_score: float | None,
) -> Found:
    """The points of a search and the rest of its answer. Facets are counted concurrently."""
    total = retrieval.total(prepared)
    if options.facets:
        confident = isinstance(options, MatchOptions) and options.min_confidence is not None
        counted = count_facets(
            retrieval,
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
        more |= await why_nothing(retrieval, prepared)
    matched = await matched_pictures(retrieval.store, prepared, query, points)
    return Found(points, matched, await _variants(retrieval, prepared, points), more)


def answer_of(
    serving: Serving, found: Found, *, plan: str, took: Mapping[str, float], confidence: Confidence = UNKNOWN
) -> dict[str, Any]:
    """The answer of a search. `took` are the milliseconds of each stage."""
    answer = search_answer(
        serving, found.points, found.matched, found.variants, plan=plan, took_ms=took, confidence=confidence
    )
    return with_members(answer, found.more)


def took_ms(
    started_s: float, embedding_s: float, searching_s: float, *, timings_ms: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The milliseconds of each stage so far; times are of `time.perf_counter`, `timings_ms` are the embedder's."""
    found_s = time.perf_counter()
    decode_ms = (timings_ms or {}).get("decode", 0.0)
    took = {
        "decode": decode_ms,
        "embed": max(0.0, (searching_s - embedding_s) * 1e3 - decode_ms),
        "search": (found_s - searching_s) * 1e3,
        "total": (found_s - started_s) * 1e3,
    }
    return {stage: round(ms, _MS_DIGITS) for stage, ms in took.items()}


async def _variants(retrieval: Retrieval, prepared: Prepared, points: Sequence[models.ScoredPoint]) -> dict[str, int]:
    """How many more variants of each point match, by point id."""
    if not prepared.one_of_each:
        return {}
    groups = {str(point.id): group(point) for point in points}
    counts = await count_more(retrieval.store, prepared.info, prepared.condition, list(groups.values()))
    return {point: counts[one] for point, one in groups.items() if one in counts}
