"""Search of the best PCA: every number of components, with and without whitening, fitted on the train part and measured
by validation queries in the train and the validation part. The test part is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.reports.pca_search import OBJECTIVE, SizePoint
from trainer.seeds import PCA_SEARCH_QUERIES, generator
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Measured, bootstrap_interval, equal_labels, shared_labels
from vitrine.evaluation.pca_sizes import measure_sizes, smallest_good
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.pca import Fit, Pca, fit_pca


@dataclass(frozen=True, slots=True)
class PcaSearch:
    """The result: every point that was tried, the one with the best objective, and the chosen one, which has the fewest
    components within one standard error of the best.
    """

    pca: Pca
    points: tuple[SizePoint, ...]
    best: SizePoint
    chosen: SizePoint
    queries: int

    def fit(self) -> Fit:
        """The chosen projection."""
        return self.pca.truncate(self.chosen.components).projection(whiten=self.chosen.whiten)


def search_pca(
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
) -> PcaSearch:
    """Try `sizes`, by default all, with each value of `whiten`.

    `features` (N, D), `relevance` (N, A) and `graded` (N, B) are of all products. `objective` are the weights of
    measures, e.g. {"average_precision": 1.0, "precision@15": 1.0}. `step` is called with the work done and the total,
    for each value of `whiten` from 0, and may raise to stop.

    Raises ProjectionImpossible, EvaluationImpossible if no validation query has a relevant product, and ValueError if a
    measure is unknown.
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
        smallest = {whitened: smallest_good(by_size, OBJECTIVE) for whitened, by_size in tried.items()}
    except ValueError as error:
        raise EvaluationImpossible(f"no number of components can be chosen: {error}") from error
    points = tuple(
        _point(pca, size, whitened, measured)
        for whitened, by_size in tried.items()
        for size, measured in by_size.items()
    )
    best = max(points, key=lambda point: (point.means[OBJECTIVE], -point.components))
    kept = next(point for point in points if point.whiten == best.whiten and point.components == smallest[best.whiten])
    return PcaSearch(pca, points, best, kept, len(chosen))


def _with_objective(measured: Measured, objective: Mapping[str, float]) -> Measured:
    total = sum(objective.values())
    weighted = sum(weight * measured.values[name] for name, weight in objective.items()) / total
    return Measured({**measured.values, OBJECTIVE: np.asarray(weighted, dtype=np.float64)})


def _point(pca: Pca, size: int, whiten: bool, measured: Measured) -> SizePoint:
    return SizePoint(
        components=size,
        whiten=whiten,
        explained_variance=float(pca.explained[:size].sum()),
        means=measured.means(),
        intervals={name: bootstrap_interval(measured.known(name), samples=400) for name in measured.values},
    )
