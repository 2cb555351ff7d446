"""PCA tuning: every number of components, whitened or not, from one decomposition of the train part, judged by queries
of the validation part among train and validation. The test part has no say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.seeds import PCA_SEARCH_QUERIES, generator
from vitrine.errors import EvaluationImpossible, ProjectionImpossible
from vitrine.evaluation import Interval, Measured, Rows, Vectors, bootstrap_interval, equal_labels, shared_labels
from vitrine.evaluation.pca_sizes import measure_sizes, smallest_good
from vitrine.vision.pca import Fit, ProjectionArrays, unit_rows

OBJECTIVE: Final = "objective"
_LEAST_VARIANCE: Final = 1e-12

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A PCA of unit-length features: `mean` (D,), `components` (D', D) by falling `variance` (D',), the share of all
    variance that each explains (D',), and of how many pictures.
    """

    mean: npt.NDArray[np.float64]
    components: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]

    def projected(self, features: Vectors, *, whiten: bool) -> Vectors:
        """(N, D') float32, not brought to length 1."""
        scale = 1.0 / np.sqrt(self.variance) if whiten else np.ones_like(self.variance)
        matrix = (self.components * scale[:, None]).T.astype(np.float32)
        projected: Vectors = (unit_rows(features) - self.mean.astype(np.float32)) @ matrix
        return projected

    def fit(self, size: int, *, whiten: bool) -> Fit:
        """The projection on the first `size` components."""
        scale = 1.0 / np.sqrt(self.variance[:size]) if whiten else np.ones(size)
        arrays = ProjectionArrays(
            mean=self.mean.astype(np.float32),
            components=self.components[:size].astype(np.float32),
            scale=scale.astype(np.float32),
        )
        explained = round(float(self.share[:size].sum()), 6)
        return Fit(arrays=arrays, solver="covariance_eigh", explained_variance=explained)


def decompose(features: Vectors) -> Decomposition:
    """The whole PCA of (N, D) features, brought to length 1; as many components as vary at all.

    Raises ProjectionImpossible where nothing does, or a feature is no finite number.
    """
    if len(features) < 2 or not np.isfinite(features).all():
        raise ProjectionImpossible("a projection needs two pictures or more, with features that are finite numbers")
    unit = unit_rows(features).astype(np.float64)
    mean = unit.mean(axis=0)
    covariance = np.cov(unit, rowvar=False).reshape(unit.shape[1], unit.shape[1])
    variance, vectors = np.linalg.eigh(covariance)
    order = np.argsort(variance)[::-1][: min(len(features) - 1, unit.shape[1])]
    kept = order[variance[order] > max(_LEAST_VARIANCE, 1e-10 * float(variance.max()))]
    if not len(kept):
        raise ProjectionImpossible("the pictures are all alike: there is no direction in which they vary")
    components = vectors[:, kept].T
    # The sign of a component is chance; the same pictures are to give the same release.
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(components)), largest])[:, None]
    return Decomposition(mean, components, variance[kept], variance[kept] / variance.clip(min=0).sum())


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

    decomposition: Decomposition
    points: tuple[Point, ...]
    best: Point
    chosen: Point
    queries: int

    def fit(self) -> Fit:
        return self.decomposition.fit(self.chosen.components, whiten=self.chosen.whiten)


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
    decomposition = decompose(features[train])
    dim = len(decomposition.components)
    wanted = range(1, dim + 1) if sizes is None else sorted({min(size, dim) for size in sizes})
    gallery = np.sort(np.concatenate([train, validation]))
    chosen = generator(PCA_SEARCH_QUERIES, seed).permutation(validation)[:queries]
    own = np.searchsorted(gallery, chosen)
    names = tuple(objective)
    tried: dict[bool, dict[int, Measured]] = {}
    for whitened in whiten:
        projected = decomposition.projected(features, whiten=whitened)
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
        _point(decomposition, size, whitened, measured)
        for whitened, by_size in tried.items()
        for size, measured in by_size.items()
    )
    best = max(points, key=lambda point: (point.means[OBJECTIVE], -point.components))
    # Of the two ways the one whose best is better; of its sizes the smallest that is as good but for chance.
    kept = next(
        point for point in points if point.whiten == best.whiten and point.components == best_sizes[best.whiten]
    )
    return Tuning(decomposition, points, best, kept, len(chosen))


def _with_objective(measured: Measured, objective: Mapping[str, float]) -> Measured:
    total = sum(objective.values())
    mixed = sum(weight * measured.values[name] for name, weight in objective.items()) / total
    return Measured({**measured.values, OBJECTIVE: np.asarray(mixed, dtype=np.float64)})


def _point(decomposition: Decomposition, size: int, whiten: bool, measured: Measured) -> Point:
    return Point(
        components=size,
        whiten=whiten,
        explained_variance=float(decomposition.share[:size].sum()),
        means=measured.means(),
        intervals={name: bootstrap_interval(measured.known(name), samples=400) for name in measured.values},
    )
