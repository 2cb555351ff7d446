"""Products that look like no other: their k-th neighbour is farther away than is usual in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.health.collection import Scores
from vitrine.types import Codes, Values

_NEIGHBOUR: Final = 5
# Of the distances' logarithms, in robust standard deviations above the median.
_DEVIATIONS: Final = 3.0
_MAD_TO_DEVIATION: Final = 1.4826
_LEAST_PRODUCTS: Final = 50


@dataclass(frozen=True, slots=True)
class Outliers:
    """`rows` of the outliers, the farthest first, their `distances`, and the distance that counts as too far."""

    rows: Codes
    distances: Values
    usual: float
    threshold: float


def find_outliers(scores: Scores, *, neighbour: int = _NEIGHBOUR) -> Outliers:
    """Outliers by the cosine distance to the k-th neighbour. `scores` (N, K) as of a scanned collection.

    Distances are compared by their logarithm, whose median and median absolute deviation a few outliers do not move.
    There are none among fewer than 50 products.
    """
    none = np.empty(0, dtype=np.int64), np.empty(0)
    if len(scores) < _LEAST_PRODUCTS or scores.shape[1] < neighbour:
        return Outliers(*none, usual=0.0, threshold=0.0)
    distances = np.clip(1.0 - scores[:, neighbour - 1].astype(np.float64), 0.0, 2.0)
    logs = np.log(distances + 1e-3)
    median = float(np.median(logs))
    deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(logs - median)))
    threshold = float(np.exp(median + _DEVIATIONS * max(deviation, 0.05)) - 1e-3)
    rows = np.flatnonzero(distances > threshold)
    rows = rows[np.argsort(-distances[rows], kind="stable")]
    return Outliers(rows, distances[rows], usual=float(np.exp(median) - 1e-3), threshold=threshold)
