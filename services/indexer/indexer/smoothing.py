"""Database-side augmentation: before it is stored, a vector is drawn to its neighbours in the collection of the release
that the augmented one was made from. What the neighbours are is so decided by plain vectors, and a product put later is
treated as all the others were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from indexer.generations import newest_ready
from indexer.vectors import Point, Vectors
from vitrine.errors import Conflict
from vitrine.evaluation.ranking import unit_rows
from vitrine.releases import Augmentation, Manifest

# With their vectors, in one answer of Qdrant's.
_NEIGHBOURS_AT_ONCE: Final = 4_000


@dataclass(frozen=True, slots=True)
class Smoothing:
    """`collection` is the plain one, that of the release the augmented one was made from."""

    collection: str
    augmentation: Augmentation

    @classmethod
    def of(cls, dataset: str, manifest: Manifest, vectors: Vectors) -> Self | None:
        """None for a release whose gallery is not augmented. Raises Conflict where the plain collection is not there,
        or not complete.
        """
        if manifest.augmentation is None or manifest.parent is None:
            return None
        collection = newest_ready(vectors.described(), dataset, manifest.parent)
        if collection is None:
            raise Conflict(
                f"the release takes its neighbours from the vectors of {manifest.parent!r}, with which this dataset is "
                f"not indexed: index it with that release first"
            )
        return cls(collection, manifest.augmentation)

    def smooth(self, vectors: Vectors, points: Sequence[Point]) -> list[Point]:
        """The points with their vectors augmented. Raises CollectionNotFound and VectorStoreUnavailable."""
        size = max(1, _NEIGHBOURS_AT_ONCE // (self.augmentation.neighbours + 1))
        return [
            smoothed
            for start in range(0, len(points), size)
            for smoothed in self._smoothed(vectors, points[start : start + size])
        ]

    def _smoothed(self, vectors: Vectors, points: Sequence[Point]) -> list[Point]:
        count, alpha = self.augmentation.neighbours, self.augmentation.alpha
        queries = [point.vector.tolist() for point in points]
        # One more: the product itself, which may be there already, with this picture or the one before.
        found = vectors.neighbours(self.collection, queries, limit=count + 1, exact=False, with_vectors=True)
        smoothed = []
        for point, neighbours in zip(points, found, strict=True):
            total = point.vector.copy()
            for one in [one for one in neighbours if str(one.id) != point.id][:count]:
                total += np.asarray(one.vector, dtype=np.float32) * np.float32(max(one.score, 0.0) ** alpha)
            smoothed.append(replace(point, vector=unit_rows(total[None])[0]))
        return smoothed
