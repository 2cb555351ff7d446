"""The measures as their definitions are read out loud: one query after the other, by loops, with scikit-learn's average
precision. What Vitrine's own are held against, for their values and for their time.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

Vectors = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """(Q,) each."""

    average_precision: npt.NDArray[np.float64]
    precision_at_k: npt.NDArray[np.float64]


def on_grid(vectors: Vectors) -> npt.NDArray[np.float32]:
    """The same to a thousandth, as multiples of 1/1024, whose products and sums float32 holds exactly: no rounding,
    which depends on the order of a sum, decides then which of two comes first.
    """
    return (np.round(vectors * 1024) / 1024).astype(np.float32)


def evaluate(queries: Vectors, gallery: Vectors, asked: Labels, labels: Labels, own: Labels, *, k: int = 15) -> Found:
    """(Q, D) and (G, D) vectors, (Q,) and (G,) labels, and (Q,) the gallery row that is the query itself."""
    average, precision = [], []
    for query, label, itself in zip(queries, asked, own, strict=True):
        scores = gallery @ query
        others = [row for row in range(len(gallery)) if row != itself]
        relevant = np.array([labels[row] == label for row in others])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            average.append(average_precision_score(relevant, scores[others]))
        ranking = sorted(range(len(others)), key=lambda at: -scores[others[at]])
        precision.append(sum(bool(relevant[at]) for at in ranking[:k]) / k)
    return Found(np.array(average), np.array(precision))
