"""A search by two releases at once: each finds its candidates, and both judge all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from qdrant_client import models

from search_api.context import Context
from search_api.looking import Look
from search_api.options import MAX_TOP_K, Pairs
from search_api.refinement import fused
from search_api.retrieval import Prepared, Wanted
from vitrine.planner import Plan

# Of each release: what neither has among so many is not found. The same for every topK, and so is the order.
_CANDIDATES: Final = 2 * MAX_TOP_K


async def prepare_other(context: Context, prepared: Prepared, model: str, filters: Pairs) -> Prepared:
    """The same filters in the second model's collection, read by its own fields: it may have been indexed when a column
    had another type.

    Raises ModelUnknown where it does not serve the dataset, FilterInvalid where it has no such field.
    """
    serving = await context.store.resolve(prepared.serving.dataset, model)
    return await context.retrieval.prepare(serving, filters)


async def fused_search(
    context: Context,
    both: tuple[Prepared, Prepared],
    looks: Sequence[Look],
    wanted: Wanted,
    plan: Plan,
    *,
    weight: float,
) -> list[models.ScoredPoint]:
    """The candidates of both releases by the weighted sum of their cosines, best first: `looks` are the query as each
    release sees it, `plan` is the first one's. Raises what searches raise.
    """
    retrieval, store = context.retrieval, context.store
    prepared, other = both
    first, second = prepared.serving, other.serving
    looked, seen = looks
    mine, theirs = await asyncio.gather(
        retrieval.candidates(prepared, looked.vector, count=_CANDIDATES, plan=plan, with_vectors=False),
        retrieval.candidates(
            other, seen.vector, count=_CANDIDATES, plan=await retrieval.plan(other), with_vectors=False
        ),
    )
    points = {str(point.id): point for point in mine}
    scores = {str(point.id): point.score for point in theirs}
    only_theirs = [point for point in theirs if str(point.id) not in points]
    only_mine = [name for name in points if name not in scores]
    vectors, other_vectors = await asyncio.gather(
        store.vectors(first.collection, [str(point.id) for point in only_theirs]),
        store.vectors(second.collection, only_mine),
    )
    query, other_query = np.asarray(looked.vector), np.asarray(seen.vector)
    scores |= {name: float(np.asarray(vector) @ other_query) for name, vector in other_vectors.items()}
    for point in only_theirs:
        vector = vectors.get(str(point.id))
        if vector is not None:  # indexed by the one release and not, or not yet, by the other
            score = float(np.asarray(vector) @ query)
            points[str(point.id)] = point.model_copy(update={"score": score})
    found = fused(list(points.values()), scores, weight)
    least = wanted.min_score
    return [point for point in found if least is None or point.score >= least][: wanted.top_k]
