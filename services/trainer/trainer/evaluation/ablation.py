"""The protocol `faults`: the measurement of the original system, then each of its faults corrected on top of the last,
all on the same features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vitrine.evaluation import Measured, equal_labels, measure, top_k
from vitrine.evaluation.expansion import expand_queries
from vitrine.evaluation.pca_sizes import measure_sizes
from vitrine.evaluation.ranking import unit_rows
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.pca import Pca, fit_pca

MEAN, HITS = "average_precision", "precision@15"
_SIZES: Final = (8, 12, 16, 20, 24, 32, 44, 64, 96, 128)
_NEIGHBORS: Final = 15
_SHOWN: Final = 15


@dataclass(frozen=True, slots=True)
class AblationStep:
    """What was corrected (`name`), the chosen number of components, the measures, and the gallery rows (Q, 15) that
    each query finds first, -1 where there are fewer.
    """

    name: str
    components: int
    measured: Measured
    matches: Rows


def protocol_ablation(
    features: Vectors, relevance: Codes, *, train: Rows, validation: Rows, queries: Rows, sizes: Sequence[int] = _SIZES
) -> list[AblationStep]:
    """Measure the steps from the original protocol to the strict one.

    `features` (N, D) and `relevance` (N, A) are of all products, which are the gallery; `queries` are rows of the test
    part. Vectors are whitened, as in the original. Raises ProjectionImpossible.
    """
    of_all, of_train = fit_pca(features), fit_pca(features[train])
    ablation = _Ablation(features, relevance, queries, [size for size in sizes if size <= len(of_train)])
    chosen_on_test = ablation.best_size(of_all, queries)
    refitted = ablation.best_size(of_train, queries)
    chosen_on_validation = ablation.best_size(of_train, validation)
    original = ablation.vectors(of_all, chosen_on_test)
    strict = ablation.vectors(of_train, chosen_on_validation)
    averaged = _neighbor_means(strict)
    step = ablation.step
    return [
        step("as the reference measured", chosen_on_test, original, exclude_query=False),
        step("the query is left out of its gallery", chosen_on_test, original),
        step("PCA is fitted on the train part", refitted, ablation.vectors(of_train, refitted)),
        step("n is chosen on the validation part", chosen_on_validation, strict),
        step("expanded as the reference did", chosen_on_validation, averaged),
        step("expanded vectors are of length 1 again", chosen_on_validation, unit_rows(averaged)),
        step("the query alone is expanded", chosen_on_validation, strict, expand=True),
    ]


class _Ablation:
    def __init__(self, features: Vectors, relevance: Codes, queries: Rows, sizes: Sequence[int]) -> None:
        self._features = features
        self._relevance = relevance
        self._queries = queries
        self._sizes = sizes

    def vectors(self, pca: Pca, size: int) -> Vectors:
        return unit_rows(pca.truncate(size).transform(self._features, whiten=True))

    def best_size(self, pca: Pca, queries: Rows) -> int:
        projected = pca.transform(self._features, whiten=True)
        relevant = equal_labels(self._relevance[queries], self._relevance)
        found = measure_sizes(projected[queries], projected, self._sizes, relevant, (HITS,), own=queries)
        return max(found, key=lambda size: (found[size].mean(HITS), -size))

    def step(
        self, name: str, size: int, vectors: Vectors, *, exclude_query: bool = True, expand: bool = False
    ) -> AblationStep:
        """Measure the vectors. `expand` replaces each query, but not the gallery, by the mean of itself and its
        neighbors. Without `exclude_query` the query is in its gallery for the average precision; the original always
        dropped rank 1 from its precision.
        """
        rows, relevant = self._queries, equal_labels(self._relevance[self._queries], self._relevance)
        queries = expand_queries(vectors[rows], vectors, k=_NEIGHBORS, own=rows) if expand else vectors[rows]
        values = dict(measure(queries, vectors, relevant, (MEAN, HITS), own=rows).values)
        if not exclude_query:
            values[MEAN] = measure(queries, vectors, relevant, (MEAN,)).values[MEAN]
        return AblationStep(name, size, Measured(values), top_k(queries, vectors, _SHOWN, rows)[0])


def _neighbor_means(vectors: Vectors) -> Vectors:
    """Each vector replaced by the mean of itself and its neighbors, not scaled to length 1."""
    rows, _ = top_k(vectors, vectors, _NEIGHBORS, np.arange(len(vectors), dtype=np.int64))
    total = vectors.copy()
    for neighbor in range(rows.shape[1]):
        total += np.where(rows[:, neighbor, None] >= 0, vectors[rows[:, neighbor]], 0)
    mean: Vectors = total / np.float32(_NEIGHBORS + 1)
    return mean
