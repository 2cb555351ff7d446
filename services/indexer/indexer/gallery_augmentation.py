"""Database-side augmentation: before a vector is stored, it is moved towards its nearest neighbours.

The neighbours come from the plain collection, that of the release from which the augmented one was made. So they are
always found by plain vectors, and a product that is added later is treated like all others.
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

# With their vectors, in one answer of Qdrant.
_MAX_NEIGHBOURS_PER_QUERY: Final = 4_000


@dataclass(frozen=True, slots=True)
class GalleryAugmentation:
    """`collection` is the plain collection that has the neighbours."""

    collection: str
    augmentation: Augmentation

    @classmethod
    def of(cls, dataset: str, manifest: Manifest, vectors: Vectors) -> Self | None:
        """The augmentation of a release, or None. Raises Conflict if the plain collection is not ready."""
        if manifest.augmentation is None or manifest.parent is None:
            return None
        collection = newest_ready(vectors.described(), dataset, manifest.parent)
        if collection is None:
            raise Conflict(
                f"the release takes its neighbours from the vectors of {manifest.parent!r}, with which this dataset is "
                f"not indexed: index it with that release first"
            )
        return cls(collection, manifest.augmentation)

    def apply(self, vectors: Vectors, points: Sequence[Point]) -> list[Point]:
        """The points with augmented vectors, (dim,) float32 of length 1. Raises CollectionNotFound and Unavailable."""
        size = max(1, _MAX_NEIGHBOURS_PER_QUERY // (self.augmentation.neighbours + 1))
        return [
            augmented
            for start in range(0, len(points), size)
            for augmented in self._apply(vectors, points[start : start + size])
        ]

    def _apply(self, vectors: Vectors, points: Sequence[Point]) -> list[Point]:
        count, alpha = self.augmentation.neighbours, self.augmentation.alpha
        queries = [point.vector.tolist() for point in points]
        # One more, because the product itself may be stored already, with this picture or an earlier one.
        found = vectors.neighbours(self.collection, queries, limit=count + 1, exact=False, with_vectors=True)
        augmented = []
        for point, neighbours in zip(points, found, strict=True):
            total = point.vector.copy()
            for one in [one for one in neighbours if str(one.id) != point.id][:count]:
                total += np.asarray(one.vector, dtype=np.float32) * np.float32(max(one.score, 0.0) ** alpha)
            augmented.append(replace(point, vector=unit_rows(total[None])[0]))
        return augmented
