"""From a score to how likely its match is right. A release's calibration is a curve through knots, rising, and straight
between them, and a plane that parts the features of its kind of pictures from those of anything; this is the part that
reads one and tells how good it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrine.types import Flags, Values, Vectors


@dataclass(frozen=True, slots=True)
class Curve:
    """Knots of a calibration: `scores` ascending, `probabilities` not falling, both (N,)."""

    scores: Values
    probabilities: Values

    @classmethod
    def of(cls, scores: Sequence[float], probabilities: Sequence[float]) -> Curve:
        """Raises ValueError where they are no rising curve of two knots or more."""
        curve = cls(np.asarray(scores, dtype=np.float64), np.asarray(probabilities, dtype=np.float64))
        if len(curve.scores) < 2 or curve.scores.shape != curve.probabilities.shape:
            raise ValueError("a calibration needs two knots or more, each with a score and a probability")
        if (np.diff(curve.scores) <= 0).any() or (np.diff(curve.probabilities) < 0).any():
            raise ValueError("the knots of a calibration must rise")
        if curve.probabilities[0] < 0 or curve.probabilities[-1] > 1:
            raise ValueError("the probabilities of a calibration lie between 0 and 1")
        return curve

    def confidence(self, scores: npt.ArrayLike) -> Values:
        """How likely matches of these scores are right; beyond the knots as at the nearest."""
        found: Values = np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities)
        return found

    def least_score(self, confidence: float) -> float | None:
        """The lowest score from which on a match is as likely right as that; None where none is, -1 where all are."""
        if confidence <= self.probabilities[0]:
            return -1.0
        if confidence > self.probabilities[-1]:
            return None
        after = int(np.searchsorted(self.probabilities, confidence, side="left"))
        low, high = self.probabilities[after - 1], self.probabilities[after]
        share = (confidence - low) / (high - low)
        return float(self.scores[after - 1] + share * (self.scores[after] - self.scores[after - 1]))


@dataclass(frozen=True, slots=True)
class Boundary:
    """A plane through the space of a release's features of length 1: `weights` (D,) and `bias`."""

    weights: Values
    bias: float

    def familiar(self, features: Vectors) -> Flags:
        """Which (N,) of the features (N, D), of any length, lie on the side of pictures such as the catalogue's."""
        lengths = np.linalg.norm(features, axis=1)
        inside: Flags = features @ self.weights + self.bias * lengths >= 0
        return inside


@dataclass(frozen=True, slots=True)
class Bin:
    """Matches of about the same confidence: how sure they were, how many were right, and how many there are."""

    confidence: float
    right: float
    count: int


def reliability(confidence: Values, right: Flags, *, bins: int = 15) -> list[Bin]:
    """The bins of equal width that have any, of (N,) confidences and whether each match was right (Niculescu-Mizil and
    Caruana, "Predicting Good Probabilities with Supervised Learning", ICML 2005).
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        Bin(float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (place == number for number in range(bins))
        if inside.any()
    ]


def calibration_error(confidence: Values, right: Flags, *, bins: int = 15) -> float:
    """The expected calibration error: the mean distance of confidence and share right over the bins, by their size
    (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). NaN where there is no match.
    """
    if not len(confidence):
        return float("nan")
    found = reliability(confidence, right, bins=bins)
    return sum(abs(one.confidence - one.right) * one.count for one in found) / len(confidence)
