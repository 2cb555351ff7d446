"""What a search may do beyond asking for the nearest: expand the query, rank the first candidates anew by the
neighbours they share, and add a second release's opinion. Each is the same as the way of that name in an evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from qdrant_client import models

from search_api.ties import by_score_and_id
from vitrine.evaluation.scoring import reciprocal_distance

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Refinement:
    """`expand` neighbours, each weighed by its score to the power of `alpha`; `rerank` candidates."""

    expand: int = 0
    alpha: float = 0.0
    rerank: int = 0


PLAIN: Final = Refinement()


def expanded(query: Sequence[float], neighbours: Sequence[models.ScoredPoint], alpha: float) -> list[float]:
    """The query with the weighted sum of its neighbours' vectors, of length 1; the query where that is nought."""
    total = np.asarray(query, dtype=np.float64)
    for point in neighbours:
        total = total + vector_of(point) * (max(point.score, 0.0) ** alpha)
    length = float(np.linalg.norm(total))
    result: list[float] = (total / length if length > 0 else np.asarray(query)).tolist()
    return result


def reranked(query: Sequence[float], points: Sequence[models.ScoredPoint]) -> list[models.ScoredPoint]:
    """The points, which carry their vectors, in the order of their reciprocal distance. Their scores stay."""
    if len(points) < 3:
        return list(points)
    candidates = np.stack([vector_of(point) for point in points])
    distance = reciprocal_distance(np.asarray(query, dtype=np.float32), candidates)
    return [points[place] for place in np.argsort(distance, kind="stable")]


def fused(
    first: Sequence[models.ScoredPoint],
    second: Mapping[str, float],
    weight: float,
) -> list[models.ScoredPoint]:
    """The points of `first` by the weighted sum of their cosine and that of the second release, which `second` has by
    point id; the sum is their score. A point that the second release does not know counts as 0 there.
    """
    summed = [
        point.model_copy(update={"score": (1 - weight) * point.score + weight * second.get(str(point.id), 0.0)})
        for point in first
    ]
    return sorted(summed, key=by_score_and_id)


def vector_of(point: models.ScoredPoint | models.Record) -> Vector:
    """The point's one vector."""
    vector: Vector = np.asarray(point.vector, dtype=np.float32)
    return vector
