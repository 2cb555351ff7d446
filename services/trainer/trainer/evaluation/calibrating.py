"""A release's calibration: from what validation queries found, how likely a match of a score is of the query's kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.seeds import CALIBRATION_QUERIES, generator
from vitrine.evaluation import Flags, Rows, Vectors, equal_labels, top_k
from vitrine.evaluation.calibration import Curve
from vitrine.releases import CATALOGUE_PICTURES, Calibration
from vitrine.types import Codes, Values

K: Final = 15
_LEAST_PAIRS: Final = 200
_MOST_KNOTS: Final = 48
_STEP: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Pairs:
    """Matches: their scores (N,), whether each is of its query's kind (N,), and the rows (N,) of their queries."""

    scores: Values
    right: Flags
    queries: Rows


def matched_pairs(
    vectors: Vectors,
    kinds: Codes,
    queries: Rows,
    gallery: Rows,
    *,
    most: int,
    seed: int,
    searched: Vectors | None = None,
) -> Pairs:
    """The first 15 matches in `gallery` of up to `most` of `queries`, both rows of `vectors` (N, D) of length 1.
    `searched` are the vectors that the gallery has instead, if it is augmented.
    """
    others = vectors if searched is None else searched
    chosen = generator(CALIBRATION_QUERIES, seed).permutation(queries)[:most]
    place = np.full(len(vectors), -1, dtype=np.int64)
    place[gallery] = np.arange(len(gallery))
    rows, scores = top_k(vectors[chosen], others[gallery], K, place[chosen])
    found = rows >= 0
    relevant = equal_labels(kinds[chosen, None], kinds[gallery, None])(slice(0, len(chosen)))
    right = np.take_along_axis(relevant, np.maximum(rows, 0), axis=1)
    asked = np.broadcast_to(chosen[:, None], found.shape)[found]
    return Pairs(scores[found].astype(np.float64), right[found], asked)


def calibrate(pairs: Pairs, *, attribute: str) -> Calibration | None:
    """The calibration by isotonic regression (Zadrozny and Elkan, "Transforming Classifier Scores into Accurate
    Multiclass Probability Estimates", KDD 2002), or None where there are too few matches or all are alike. From the
    lowest score seen it falls to 0 at a score of 0, so that what is less like than anything seen is less likely right.
    """
    if len(pairs.scores) < _LEAST_PAIRS or pairs.scores.min() == pairs.scores.max():
        return None
    from sklearn.isotonic import IsotonicRegression  # takes seconds to import, and only publishing needs it

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(pairs.scores, pairs.right)
    low, high = float(pairs.scores.min()), float(pairs.scores.max())
    # Between quantiles the curve is drawn straight, which also smooths the steps of the regression.
    scores = np.unique(np.quantile(pairs.scores, np.linspace(0, 1, _MOST_KNOTS)))
    probabilities = _averaged(fitted.predict(np.sort(pairs.scores)), np.sort(pairs.scores), scores)
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
        pairs=len(pairs.scores),
        calibrated_for=CATALOGUE_PICTURES,
    )


def confidence_of(calibration: Calibration, pairs: Pairs, features: Vectors) -> Values:
    """How sure (N,) the calibration is of other matches, whose queries are rows of the `features` (M, D)."""
    confidence = Curve.of(calibration.scores, calibration.probabilities).confidence(pairs.scores)
    if (boundary := calibration.boundary) is not None:
        queries, place = np.unique(pairs.queries, return_inverse=True)
        confidence[~boundary.familiar(features[queries])[place]] = 0.0
    return confidence


def _averaged(fitted: Values, at: Values, knots: Values) -> Values:
    """The mean of the fitted steps around each knot, halfway to its neighbours."""
    edges = np.concatenate([[-np.inf], (knots[1:] + knots[:-1]) / 2, [np.inf]])
    place = np.searchsorted(edges, at, side="right") - 1
    sums = np.bincount(place, weights=fitted, minlength=len(knots))
    counts = np.bincount(place, minlength=len(knots))
    means: Values = sums / np.maximum(counts, 1)
    return means
