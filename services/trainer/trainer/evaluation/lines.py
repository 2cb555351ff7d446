"""What an evaluation tells: a line for each release, gallery and way of searching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.evaluation import Comparison, Measured, compare
from vitrine.evaluation.plan import Gallery


@dataclass(frozen=True, slots=True)
class Line:
    """What one release is worth, searched in one way in one gallery. `asked` (Q,) says which of the contest's queries
    these are, `kinds` (Q,) their classes, and `matches` (Q, 15) the contest's gallery rows found first, -1 for none.
    """

    release: str
    gallery: Gallery
    way: str
    measured: Measured
    kinds: np.ndarray[Any, np.dtype[np.int64]]
    asked: np.ndarray[Any, np.dtype[np.int64]]
    matches: np.ndarray[Any, np.dtype[np.int64]]
    gallery_size: int
    milliseconds: float

    def by_kind(self, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """Means and counts of the queries of each class that has any."""
        told = {}
        for code, name in enumerate(names):
            measured = self.measured.of_queries(self.kinds == code)
            if measured.scored:
                told[name] = {"queries": float(measured.scored), **measured.means()}
        return told


def compared(first: Line, second: Line, name: str) -> Comparison:
    """Two lines on the queries both have."""
    shared, left, right = np.intersect1d(first.asked, second.asked, return_indices=True)
    del shared
    return compare(first.measured.values[name][left], second.measured.values[name][right])
