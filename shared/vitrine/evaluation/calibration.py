"""Applying and measuring a release's calibration: the probability that a match is right, by its score, and the
out-of-distribution detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitrine.types import Flags, Values, Vectors


@dataclass(frozen=True, slots=True)
class Curve:
    """A piecewise linear calibration: knots with `scores` ascending and `probabilities` not falling, both (N,)."""

    scores: Values
    probabilities: Values

    @classmethod
    def of(cls, scores: Sequence[float], probabilities: Sequence[float]) -> Curve:
        """Raises ValueError unless they are a rising curve of two knots or more."""
        curve = cls(np.asarray(scores, dtype=np.float64), np.asarray(probabilities, dtype=np.float64))
        if len(curve.scores) < 2 or curve.scores.shape != curve.probabilities.shape:
            raise ValueError("a calibration needs two knots or more, each with a score and a probability")
        if (np.diff(curve.scores) <= 0).any() or (np.diff(curve.probabilities) < 0).any():
            raise ValueError("the knots of a calibration must rise")
        if curve.probabilities[0] < 0 or curve.probabilities[-1] > 1:
            raise ValueError("the probabilities of a calibration must be between 0 and 1")
        return curve

    def confidence(self, scores: npt.ArrayLike) -> Values:
        """The probability that matches of these scores are right. Beyond the knots it is constant."""
        found: Values = np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities)
        return found

    def least_score(self, confidence: float) -> float | None:
        """The lowest score whose matches have this confidence; -1 if all matches have it, None if none has."""
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
    """The out-of-distribution detector: a plane in the space of L2-normalised features, `weights` (D,) and `bias`."""

    weights: Values
    bias: float

    def familiar(self, features: Vectors) -> Flags:
        """Whether each of the features (N, D), of any length, is in distribution: (N,)."""
        lengths = np.linalg.norm(features, axis=1)
        inside: Flags = features @ self.weights + self.bias * lengths >= 0
        return inside


@dataclass(frozen=True, slots=True)
class Bin:
    """Matches of similar confidence: their mean confidence, the share that is right, and their number."""

    confidence: float
    right: float
    count: int


def reliability(confidence: Values, right: Flags, *, bins: int = 15) -> list[Bin]:
    """A reliability diagram: the bins of equal width that are not empty, of (N,) confidences and (N,) `right`.

    Niculescu-Mizil and Caruana, "Predicting Good Probabilities with Supervised Learning", ICML 2005.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    return [
        Bin(float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (place == number for number in range(bins))
        if inside.any()
    ]


def calibration_error(confidence: Values, right: Flags, *, bins: int = 15) -> float:
    """The expected calibration error, from 0 to 1; NaN if there are no matches.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    if not len(confidence):
        return float("nan")
    found = reliability(confidence, right, bins=bins)
    return sum(abs(one.confidence - one.right) * one.count for one in found) / len(confidence)
