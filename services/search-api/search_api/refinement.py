"""What a search may do beyond asking for the nearest: expand the query, look at the picture in other views too, rank
the first candidates anew by the neighbours they share, and add a second release's opinion. Each is the same as the way
of that name in an evaluation.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from qdrant_client import models

from search_api.ties import by_score_and_id
from vitrine.evaluation.scoring import reciprocal_distance
from vitrine.images import decode_image
from vitrine.views import View

Vector = npt.NDArray[np.float32]

# A query larger than this is shrunk before it is cut and mirrored: no network sees more of it.
_VIEWED_SHORT_SIDE_PX: Final = 512


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


def seen_in(picture: bytes, views: Sequence[View]) -> list[bytes]:
    """The picture file in each of the views, as files. Raises ImageRejected."""
    image = decode_image(picture, target_px=_VIEWED_SHORT_SIDE_PX)
    return [_png(view.of(image)) for view in views]


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG", compress_level=1)
    return written.getvalue()


def mean_of(vectors: Sequence[Vector]) -> list[float]:
    """The mean of vectors of length 1, of length 1; the first where the mean is nought, or where it is alone."""
    if len(vectors) == 1:
        return [float(value) for value in vectors[0]]
    mean = np.mean(np.stack(vectors), axis=0)
    length = float(np.linalg.norm(mean))
    result: list[float] = (mean / length if length > 0 else vectors[0]).tolist()
    return result


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
