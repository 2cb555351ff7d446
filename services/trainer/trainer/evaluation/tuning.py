"""PCA tuning: every number of components, whitened or not, from one decomposition of the train part, judged by queries
of the validation part among train and validation. The test part has no say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.seeds import PCA_SEARCH_QUERIES, generator
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Interval, Measured, bootstrap_interval, equal_labels, shared_labels
from vitrine.evaluation.pca_sizes import measure_sizes, smallest_good
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.pca import Fit, Pca, fit_pca

OBJECTIVE: Final = "objective"


@dataclass(frozen=True, slots=True)
class Point:
    """One size, whitened or not, and what validation queries find with it. `means` and `intervals` are by measure, the
    objective's among them.
    """

    components: int
    whiten: bool
    explained_variance: float
    means: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Tuning:
    """Every point that was tried, the one with the best objective, and the smallest within one standard error of it."""

    pca: Pca
    points: tuple[Point, ...]
    best: Point
    chosen: Point
    queries: int

    def fit(self) -> Fit:
        return self.pca.truncate(self.chosen.components).projection(whiten=self.chosen.whiten)


def tune(
    features: Vectors,
    relevance: Codes,
    graded: Codes,
    *,
    train: Rows,
    validation: Rows,
    objective: Mapping[str, float],
    queries: int,
    seed: int,
    sizes: Sequence[int] | None = None,
    whiten: Sequence[bool] = (False, True),
    step: Callable[[int, int], None] | None = None,
) -> Tuning:
    """`features` (N, D), `relevance` (N, A) and `graded` (N, B) are those of all products. `objective` weighs measures,
    e.g. {"average_precision": 1.0, "precision@15": 1.0}; `sizes` are 1 to D where they are not given. `step` is told
    how far it is, for each of `whiten` anew, and may raise to stop.

    Raises ProjectionImpossible, EvaluationImpossible where no validation query has anything to find, and ValueError for
    a measure that is none.
    """
    pca = fit_pca(features[train])
    dim = len(pca)
    wanted = range(1, dim + 1) if sizes is None else sorted({min(size, dim) for size in sizes})
    gallery = np.sort(np.concatenate([train, validation]))
    chosen = generator(PCA_SEARCH_QUERIES, seed).permutation(validation)[:queries]
    own = np.searchsorted(gallery, chosen)
    names = tuple(objective)
    tried: dict[bool, dict[int, Measured]] = {}
    for whitened in whiten:
        projected = pca.transform(features, whiten=whitened)
        found = measure_sizes(
            projected[chosen],
            projected[gallery],
            wanted,
            equal_labels(relevance[chosen], relevance[gallery]),
            names,
            own=own,
            grades=shared_labels(graded[chosen], graded[gallery]),
            step=step,
        )
        tried[whitened] = {size: _with_objective(measured, objective) for size, measured in found.items()}
    try:
        best_sizes = {whitened: smallest_good(by_size, OBJECTIVE) for whitened, by_size in tried.items()}
    except ValueError as error:
        raise EvaluationImpossible(f"no number of components can be chosen: {error}") from error
    points = tuple(
        _point(pca, size, whitened, measured)
        for whitened, by_size in tried.items()
        for size, measured in by_size.items()
    )
    best = max(points, key=lambda point: (point.means[OBJECTIVE], -point.components))
    # Of the two ways the one whose best is better; of its sizes the smallest that is as good but for chance.
    kept = next(
        point for point in points if point.whiten == best.whiten and point.components == best_sizes[best.whiten]
    )
    return Tuning(pca, points, best, kept, len(chosen))


def _with_objective(measured: Measured, objective: Mapping[str, float]) -> Measured:
    total = sum(objective.values())
    mixed = sum(weight * measured.values[name] for name, weight in objective.items()) / total
    return Measured({**measured.values, OBJECTIVE: np.asarray(mixed, dtype=np.float64)})


def _point(pca: Pca, size: int, whiten: bool, measured: Measured) -> Point:
    return Point(
        components=size,
        whiten=whiten,
        explained_variance=float(pca.explained[:size].sum()),
        means=measured.means(),
        intervals={name: bootstrap_interval(measured.known(name), samples=400) for name in measured.values},
    )
