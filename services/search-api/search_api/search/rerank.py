"""Refinements of a search: query expansion, reranking by shared neighbours, and fusion of two releases' scores. Each
equals the search variant of that name in an evaluation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from qdrant_client import models

from search_api.search.variants import best_of_each
from search_api.ties import by_score_and_id
from vitrine.evaluation.rerank import reciprocal_distance
from vitrine.qdrant.client import picture_vectors
from vitrine.qdrant.plans import Plan
from vitrine.types import Vectors

if TYPE_CHECKING:
    from search_api.search.retrieval import Prepared, Retrieval, Wanted

# Candidates of each release. Fixed, so that the order does not depend on topK.
_FUSION_CANDIDATES: Final = 400


@dataclass(frozen=True, slots=True)
class Refinement:
    """`expand` neighbours, weighted by score ** `alpha`; `rerank` candidates."""

    expand: int = 0
    alpha: float = 0.0
    rerank: int = 0


PLAIN: Final = Refinement()


def expanded(query: Sequence[float], neighbours: Sequence[models.ScoredPoint], alpha: float) -> list[float]:
    """The query plus the weighted sum of its neighbours' vectors, normalized; the query itself if the sum is zero."""
    total = np.asarray(query, dtype=np.float64)
    for point in neighbours:
        total = total + vector_of(point, query) * (max(point.score, 0.0) ** alpha)
    length = float(np.linalg.norm(total))
    result: list[float] = (total / length if length > 0 else np.asarray(query)).tolist()
    return result


def reranked(query: Sequence[float], points: Sequence[models.ScoredPoint]) -> list[models.ScoredPoint]:
    """The points, which must have vectors, sorted by reciprocal distance. Their scores are unchanged."""
    if len(points) < 3:
        return list(points)
    candidates = np.stack([vector_of(point, query) for point in points])
    distance = reciprocal_distance(np.asarray(query, dtype=np.float32), candidates)
    return [points[place] for place in np.argsort(distance, kind="stable")]


def fused(
    first: Sequence[models.ScoredPoint],
    second: Mapping[str, float],
    weight: float,
) -> list[models.ScoredPoint]:
    """The points of `first`, sorted and scored by the weighted sum of both cosines. `second` has the second release's
    cosine by point id, 0 if missing.
    """
    summed = [
        point.model_copy(update={"score": (1 - weight) * point.score + weight * second.get(str(point.id), 0.0)})
        for point in first
    ]
    return sorted(summed, key=by_score_and_id)


async def fused_search(
    retrieval: Retrieval,
    both: tuple[Prepared, Prepared],
    vectors: tuple[list[float], list[float]],
    wanted: Wanted,
    *,
    plan: Plan,
    weight: float,
) -> list[models.ScoredPoint]:
    """The candidates of both releases by the weighted sum of their cosines, best first.

    `vectors` are the query's embeddings by each release; `plan` is that of the first collection.
    """
    (prepared, other), (query, other_query) = both, vectors
    mine, theirs = await asyncio.gather(
        retrieval.candidates(prepared, query, count=_FUSION_CANDIDATES, plan=plan, with_vectors=False),
        retrieval.candidates(
            other, other_query, count=_FUSION_CANDIDATES, plan=await retrieval.plan(other), with_vectors=False
        ),
    )
    points = {str(point.id): point for point in mine}
    scores = {str(point.id): point.score for point in theirs}
    only_theirs = [point for point in theirs if str(point.id) not in points]
    only_mine = [name for name in points if name not in scores]
    missing, other_missing = await asyncio.gather(
        retrieval.store.vectors(prepared.serving.collection, [str(point.id) for point in only_theirs]),
        retrieval.store.vectors(other.serving.collection, only_mine),
    )
    scores |= {name: best_cosine(pictures, other_query) for name, pictures in other_missing.items()}
    for point in only_theirs:
        pictures = missing.get(str(point.id))
        if pictures is not None:  # indexed with one release but not (yet) with the other
            points[str(point.id)] = point.model_copy(update={"score": best_cosine(pictures, query)})
    found = fused(list(points.values()), scores, weight)
    if prepared.one_of_each:
        if not other.one_of_each:  # its collection is older and does not know the variants
            found = await _with_groups(retrieval, prepared, found)
        found = best_of_each(found)
    least = wanted.min_score
    return [point for point in found if least is None or point.score >= least][wanted.offset : wanted.reach]


async def _with_groups(
    retrieval: Retrieval, prepared: Prepared, points: Sequence[models.ScoredPoint]
) -> list[models.ScoredPoint]:
    """The points with their payloads in a collection, without those that it does not have."""
    payloads = await retrieval.store.retrieve(prepared.info.name, [str(point.id) for point in points])
    return [
        point.model_copy(update={"payload": payloads[str(point.id)]}) for point in points if str(point.id) in payloads
    ]


def best_cosine(pictures: Vectors, query: Sequence[float]) -> float:
    """The cosine of a unit vector and the nearest of the unit vectors `pictures`, (pictures, dim)."""
    return float((pictures @ np.asarray(query, dtype=np.float32)).max())


def vector_of(point: models.ScoredPoint | models.Record, query: Sequence[float]) -> Vectors:
    """The vector of the point's picture that is nearest to the query."""
    pictures = picture_vectors(point.vector)
    best: Vectors = pictures[nearest_picture(pictures, query)]
    return best


def nearest_picture(pictures: Vectors, query: Sequence[float]) -> int:
    """Which of the vectors `pictures`, (pictures, dim), is nearest to the query."""
    if len(pictures) == 1:
        return 0
    return int(np.argmax(pictures @ np.asarray(query, dtype=np.float32)))
