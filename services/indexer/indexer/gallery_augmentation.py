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
from indexer.slices import slices_by_size
from indexer.vectors import Point, Vectors
from vitrine.errors import Conflict
from vitrine.evaluation.ranking import unit_rows
from vitrine.qdrant.client import picture_vectors
from vitrine.qdrant.schema import CollectionInfo
from vitrine.releases import Augmentation, Manifest

# With their vectors, in one answer of Qdrant.
_MAX_NEIGHBOURS_PER_QUERY: Final = 4_000


@dataclass(frozen=True, slots=True)
class GalleryAugmentation:
    """`collection` is the plain collection that has the neighbours."""

    collection: CollectionInfo
    augmentation: Augmentation

    @classmethod
    def of(cls, dataset: str, manifest: Manifest, vectors: Vectors) -> Self | None:
        """The augmentation of a release, or None. Raises Conflict if the plain collection is not ready."""
        if manifest.augmentation is None or manifest.parent is None:
            return None
        described = vectors.described()
        collection = newest_ready(described, dataset, manifest.parent)
        if collection is None:
            raise Conflict(
                f"the release takes its neighbours from the vectors of {manifest.parent!r}, with which this dataset is "
                f"not indexed: index it with that release first"
            )
        return cls(described[collection], manifest.augmentation)

    def apply(self, vectors: Vectors, points: Sequence[Point]) -> list[Point]:
        """The points with augmented vectors, each moved towards the best pictures of its own neighbours.

        Raises CollectionNotFound and Unavailable.
        """
        size = max(1, _MAX_NEIGHBOURS_PER_QUERY // (self.augmentation.neighbours + 1))
        augmented: list[Point] = []
        for part in slices_by_size([len(point.vectors) for point in points], most=size):
            augmented += self._apply(vectors, points[part])
        return augmented

    def _apply(self, vectors: Vectors, points: Sequence[Point]) -> list[Point]:
        count, alpha = self.augmentation.neighbours, self.augmentation.alpha
        queries = [vector.tolist() for point in points for vector in point.vectors]
        # One more, because the product itself may be stored already, with this picture or an earlier one.
        found = iter(
            vectors.neighbours(
                self.collection.name,
                queries,
                limit=count + 1,
                exact=False,
                with_vectors=True,
                info=self.collection,
            )
        )
        augmented = []
        for point in points:
            moved = []
            for vector in point.vectors:
                total = vector.copy()
                for one in [one for one in next(found) if str(one.id) != point.id][:count]:
                    pictures = picture_vectors(one.vector)
                    best = pictures[int(np.argmax(pictures @ vector))]
                    total += best * np.float32(max(one.score, 0.0) ** alpha)
                moved.append(total)
            augmented.append(replace(point, vectors=unit_rows(np.stack(moved))))
        return augmented
