"""The products of `benchmarks.scale`: those of an indexed catalogue, and copies of them that are a little different."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexer.vectors import Point
from search_api.search.options import Pairs
from vitrine.products import AttributeKind, point_id

DATASET: Final = "scale"
_QUERY_NOISE: Final = 0.1
_MIDDLING: Final = 0.2  # of all products
_SEED: Final = 7

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The products of a catalogue: `vectors` is (products, dim) float32, each row of length 1."""

    vectors: Rows
    payloads: list[dict[str, Any]]
    kinds: dict[str, AttributeKind]

    @classmethod
    def load(cls, file: Path) -> Catalogue:
        """From a file that `save` has written."""
        with np.load(file) as stored:
            facts = json.loads(stored["facts"].tobytes())
            kinds = {name: AttributeKind(kind) for name, kind in facts["kinds"].items()}
            return cls(stored["vectors"], facts["payloads"], kinds)

    def save(self, file: Path) -> None:
        facts = json.dumps({"payloads": self.payloads, "kinds": {name: str(kind) for name, kind in self.kinds.items()}})
        np.savez(file, vectors=self.vectors, facts=np.frombuffer(facts.encode(), np.uint8))

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    def batches(self, count: int, *, size: int, noise: float) -> Iterator[list[Point]]:
        """`count` products in batches: the catalogue's own, then copies, moved by `noise` in a random direction."""
        for start in range(0, count, size):
            numbers = np.arange(start, min(start + size, count))
            rows, copy = numbers % len(self.payloads), numbers // len(self.payloads)
            moved = _moved(self.vectors[rows], noise * (copy > 0), np.random.default_rng((_SEED, start)))
            yield [self._point(int(row), int(n), vector) for row, n, vector in zip(rows, copy, moved, strict=True)]

    def queries(self, count: int) -> list[list[float]]:
        """Vectors near to those of products, like those of other pictures of the same products."""
        random = np.random.default_rng(_SEED)
        rows = random.choice(len(self.payloads), size=min(count, len(self.payloads)), replace=False)
        moved = _moved(self.vectors[rows], np.full(len(rows), _QUERY_NOISE), random)
        return [vector.tolist() for vector in moved]

    def filters(self, first: str, second: str, two: str) -> list[tuple[str, Pairs]]:
        """No filter, every value of the field `first`, each together with every value of `second`, and the two values
        of `two` that match nearest to a fifth of the products.
        """
        found: list[tuple[str, Pairs]] = [("none", [])]
        found += [(value, [(first, value)]) for value in self._values(first)]
        pairs = Counter((one.get(first), one.get(second)) for one in self.payloads)
        found += [
            (f"{one}, {other}", [(first, str(one)), (second, str(other))])
            for (one, other), _ in pairs.most_common()
            if isinstance(one, str) and isinstance(other, str)
        ]
        values = self._values(two)
        if len(values) > 1:
            share = {value: count / len(self.payloads) for value, count in values.items()}
            one, other = min(
                ((a, b) for a in share for b in share if a < b),
                key=lambda both: abs(share[both[0]] + share[both[1]] - _MIDDLING),
            )
            found.append((f"{one} or {other}", [(two, one), (two, other)]))
        return found

    def _values(self, name: str) -> Counter[str]:
        return Counter(one[name] for one in self.payloads if isinstance(one.get(name), str))

    def _point(self, row: int, copy: int, vector: Rows) -> Point:
        payload = self.payloads[row]
        product_id = f"{payload['product_id']}-{copy}"
        changed = {**payload, "product_id": product_id, "dataset": DATASET}
        return Point(point_id(DATASET, product_id), vector[None], changed)


def _moved(vectors: Rows, noise: npt.NDArray[np.floating[Any]], random: np.random.Generator) -> Rows:
    """Each row moved by its `noise` in a random direction, with length 1."""
    directions = random.normal(size=vectors.shape)
    directions *= (noise / np.linalg.norm(directions, axis=1))[:, None]
    moved = vectors + directions
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)
