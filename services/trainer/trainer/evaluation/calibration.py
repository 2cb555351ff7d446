"""Calibration of a release: the probability that a match with a given score has its query's class, from the matches of
validation queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.seeds import CALIBRATION_QUERIES, generator
from vitrine.evaluation import equal_labels, top_k
from vitrine.evaluation.calibration import Curve
from vitrine.releases import CATALOGUE_PICTURES, Calibration
from vitrine.types import Codes, Flags, Rows, Values, Vectors

K: Final = 15
_MIN_MATCHES: Final = 200
_MAX_KNOTS: Final = 48
_STEP: Final = 1e-6


@dataclass(frozen=True, slots=True)
class ScoredMatches:
    """N matches: their scores (N,), whether each has its query's class (N,), and the rows of their queries (N,)."""

    scores: Values
    right: Flags
    queries: Rows


def collect_matches(
    vectors: Vectors,
    kinds: Codes,
    queries: Rows,
    gallery: Rows,
    *,
    most: int,
    seed: int,
    searched: Vectors | None = None,
) -> ScoredMatches:
    """The first 15 matches of up to `most` of the queries.

    `queries` and `gallery` are rows of `vectors` (N, D), which have length 1, and of the classes `kinds` (N,).
    `searched` (N, D) are the vectors of an augmented gallery.
    """
    others = vectors if searched is None else searched
    chosen = generator(CALIBRATION_QUERIES, seed).permutation(queries)[:most]
    place = np.full(len(vectors), -1, dtype=np.int64)
    place[gallery] = np.arange(len(gallery))
    rows, scores = top_k(vectors[chosen], others[gallery], K, place[chosen])
    found = rows >= 0
    relevant = equal_labels(kinds[chosen, None], kinds[gallery, None])(slice(0, len(chosen)))
    right = np.take_along_axis(relevant, np.maximum(rows, 0), axis=1)
    query_rows = np.broadcast_to(chosen[:, None], found.shape)[found]
    return ScoredMatches(scores[found].astype(np.float64), right[found], query_rows)


def calibrate(matches: ScoredMatches, *, attribute: str) -> Calibration | None:
    """Fit a calibration by isotonic regression (Zadrozny and Elkan, "Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates", KDD 2002).

    Below the lowest observed score the probability falls linearly to 0 at a score of 0. Returns None if there are fewer
    than 200 matches or all have the same score.
    """
    if len(matches.scores) < _MIN_MATCHES or matches.scores.min() == matches.scores.max():
        return None
    from sklearn.isotonic import IsotonicRegression  # takes seconds to import, and only publishing needs it

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(matches.scores, matches.right)
    low, high = float(matches.scores.min()), float(matches.scores.max())
    # Between quantiles the curve is linear, which also smooths the steps of the regression.
    scores = np.unique(np.quantile(matches.scores, np.linspace(0, 1, _MAX_KNOTS)))
    ordered = np.sort(matches.scores)
    probabilities = _knot_means(fitted.predict(ordered), ordered, scores)
    if low > _STEP:
        scores, probabilities = np.concatenate([[0.0], scores]), np.concatenate([[0.0], probabilities])
    if high < 1.0:
        scores, probabilities = np.append(scores, 1.0), np.append(probabilities, probabilities[-1])
    places = [round(float(score), 6) for score in scores]
    shares = [round(float(share), 6) for share in np.maximum.accumulate(probabilities)]
    kept = [at for at in range(len(places)) if not at or places[at] > places[at - 1]]
    curve = Curve.of([places[at] for at in kept], [shares[at] for at in kept])
    return Calibration(
        attribute=attribute,
        scores=tuple(curve.scores.tolist()),
        probabilities=tuple(curve.probabilities.tolist()),
        pairs=len(matches.scores),
        calibrated_for=CATALOGUE_PICTURES,
    )


def confidence_of(calibration: Calibration, matches: ScoredMatches, features: Vectors) -> Values:
    """The confidence (N,) in [0, 1] of other matches, whose queries are rows of `features` (M, D)."""
    confidence = Curve.of(calibration.scores, calibration.probabilities).confidence(matches.scores)
    if (boundary := calibration.boundary) is not None:
        queries, place = np.unique(matches.queries, return_inverse=True)
        confidence[~boundary.familiar(features[queries])[place]] = 0.0
    return confidence


def _knot_means(fitted: Values, scores: Values, knots: Values) -> Values:
    """The mean of the fitted values around each knot, halfway to its neighbors."""
    edges = np.concatenate([[-np.inf], (knots[1:] + knots[:-1]) / 2, [np.inf]])
    place = np.searchsorted(edges, scores, side="right") - 1
    sums = np.bincount(place, weights=fitted, minlength=len(knots))
    counts = np.bincount(place, minlength=len(knots))
    means: Values = sums / np.maximum(counts, 1)
    return means
