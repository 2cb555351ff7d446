"""A search by two releases at once: each finds its candidates, and both judge all of them."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np
from qdrant_client import models

from search_api.context import Context
from search_api.looking import Look, look_at
from search_api.options import MAX_TOP_K, SearchOptions
from search_api.refinement import fused
from search_api.retrieval import Prepared, Wanted
from vitrine.planner import Plan

# Of each release: what neither has among so many is not found. The same for every topK, and so is the order.
_CANDIDATES: Final = 2 * MAX_TOP_K


async def fused_search(
    context: Context,
    prepared: Prepared,
    looked: Look,
    wanted: Wanted,
    plan: Plan,
    *,
    picture: bytes,
    options: SearchOptions,
) -> list[models.ScoredPoint]:
    """The candidates of both releases by the weighted sum of their cosines, best first.

    Raises ModelUnknown for a second model that does not serve the dataset, and what searches and the embedder raise.
    """
    retrieval, store = context.retrieval, context.store
    first = prepared.serving
    second = await store.resolve(first.dataset, options.fuse)
    other = Prepared(second, await store.collection(second.collection), prepared.spec)
    deadline_s = context.settings.request_timeout_s
    seen = await look_at(picture, context.embedder, second.release_id, views=options.views, deadline_s=deadline_s)
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
    found = fused(list(points.values()), scores, options.fuse_weight)
    least = wanted.min_score
    return [point for point in found if least is None or point.score >= least][: wanted.top_k]
