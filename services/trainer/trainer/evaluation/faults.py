"""What the original system's faults were worth: its own way of measuring first, then each fault mended on top of the
last, on the same features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vitrine.evaluation import Measured, Rows, Vectors, equal_labels, measure, top_k
from vitrine.evaluation.expansion import expand_queries
from vitrine.evaluation.pca_sizes import measure_sizes
from vitrine.evaluation.ranking import unit_rows
from vitrine.types import Codes
from vitrine.vision.pca import Pca, fit_pca

MEAN, HITS = "average_precision", "precision@15"
_GRID: Final = (8, 12, 16, 20, 24, 32, 44, 64, 96, 128)
_NEIGHBOURS: Final = 15
_SHOWN: Final = 15


@dataclass(frozen=True, slots=True)
class Rung:
    """One step: what was mended, the components that were chosen, what the measures say then, and the products that
    each query finds first, rows (Q, 15) of the gallery.
    """

    name: str
    components: int
    measured: Measured
    matches: Rows


def faults_ladder(
    features: Vectors, relevance: Codes, *, train: Rows, validation: Rows, queries: Rows, grid: Sequence[int] = _GRID
) -> list[Rung]:
    """`features` (N, D) and `relevance` (N, A) are those of all products, the gallery; `queries` are rows of the test
    part. As in the original, vectors are whitened.

    Raises ProjectionImpossible.
    """
    everything, honest = fit_pca(features), fit_pca(features[train])
    bench = _Bench(features, relevance, queries, [size for size in grid if size <= len(honest)])
    by_test = bench.best_size(everything, bench.queries)
    refitted = bench.best_size(honest, bench.queries)
    by_validation = bench.best_size(honest, validation)
    whole = bench.vectors(honest, by_validation)
    averaged = bench.averaged(whole)
    return [
        bench.rung("as the reference measured", by_test, bench.vectors(everything, by_test), own=False),
        bench.rung("the query is left out of its gallery", by_test, bench.vectors(everything, by_test)),
        bench.rung("PCA is fitted on the train part", refitted, bench.vectors(honest, refitted)),
        bench.rung("n is chosen on the validation part", by_validation, whole),
        bench.rung("expanded as the reference did", by_validation, averaged),
        bench.rung("expanded vectors are of length 1 again", by_validation, unit_rows(averaged)),
        bench.rung("the query alone is expanded", by_validation, whole, expanded=True),
    ]


class _Bench:
    def __init__(self, features: Vectors, relevance: Codes, queries: Rows, grid: Sequence[int]) -> None:
        self._features = features
        self._relevance = relevance
        self.queries = queries
        self._grid = grid

    def vectors(self, pca: Pca, size: int) -> Vectors:
        return unit_rows(pca.truncate(size).transform(self._features, whiten=True))

    def best_size(self, pca: Pca, queries: Rows) -> int:
        projected = pca.transform(self._features, whiten=True)
        relevant = equal_labels(self._relevance[queries], self._relevance)
        found = measure_sizes(projected[queries], projected, self._grid, relevant, (HITS,), own=queries)
        return max(found, key=lambda size: (found[size].mean(HITS), -size))

    def rung(self, name: str, size: int, vectors: Vectors, *, own: bool = True, expanded: bool = False) -> Rung:
        """Without `own` the query answers itself, but for the hits, whose rank 1 the reference dropped. `expanded`
        leaves the gallery as it is and takes for each query the mean of itself and its neighbours.
        """
        rows, relevant = self.queries, equal_labels(self._relevance[self.queries], self._relevance)
        queries = expand_queries(vectors[rows], vectors, k=_NEIGHBOURS, own=rows) if expanded else vectors[rows]
        values = dict(measure(queries, vectors, relevant, (MEAN, HITS), own=rows).values)
        if not own:
            values[MEAN] = measure(queries, vectors, relevant, (MEAN,)).values[MEAN]
        return Rung(name, size, Measured(values), top_k(queries, vectors, _SHOWN, rows)[0])

    def averaged(self, vectors: Vectors) -> Vectors:
        """Every vector of the gallery, the queries' too, replaced by the mean of itself and its neighbours, as long as
        it comes out.
        """
        rows, _ = top_k(vectors, vectors, _NEIGHBOURS, np.arange(len(vectors), dtype=np.int64))
        total = vectors.copy()
        for neighbour in range(rows.shape[1]):
            total += np.where(rows[:, neighbour, None] >= 0, vectors[rows[:, neighbour]], 0)
        mean: Vectors = total / np.float32(_NEIGHBOURS + 1)
        return mean
