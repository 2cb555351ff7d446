"""Functions of the indexer that need no services: how pictures are packed into requests, and how a new collection is
checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from indexer.slices import slices_by_size
from indexer.vectors import Vectors
from indexer.verify import TOP, verify
from vitrine.errors import VerificationFailed
from vitrine.qdrant.schema import CollectionInfo
from vitrine.types import Vectors as EmbeddingRows


@given(st.lists(st.integers(0, 50), max_size=80), st.integers(1, 100), st.integers(1, 20))
def test_requests_contain_every_picture_once_in_order_within_their_limits(
    sizes: list[int], most: int, items: int
) -> None:
    parts = [sizes[part] for part in slices_by_size(sizes, most=most, items=items)]
    assert [size for part in parts for size in part] == sizes
    assert all(part and (sum(part) <= most or len(part) == 1) for part in parts)
    assert all(len(part) <= items for part in parts)


def test_pictures_that_fit_go_in_one_request() -> None:
    assert list(slices_by_size([10, 10, 10], most=30)) == [slice(0, 3)]
    assert list(slices_by_size([10, 10, 10], most=30, items=3)) == [slice(0, 3)]


@dataclass
class Answers(Vectors):
    """Answers of a Qdrant with a defect that a real server cannot be made to have."""

    ranked: Sequence[tuple[str, float]]
    truth: Sequence[tuple[str, float]]
    ids_there: list[str] = field(default_factory=lambda: [f"p{number}" for number in range(12)])

    def count(self, collection: str, condition: models.Filter | None = None) -> int:
        return len(self.ids_there)

    def vectors(self, collection: str, point_ids: Sequence[str]) -> dict[str, EmbeddingRows]:
        return {one: np.ones((1, 1), np.float32) for one in point_ids}

    def neighbours(
        self,
        collection: str,
        vectors: Sequence[list[float]],
        *,
        limit: int,
        exact: bool,
        info: CollectionInfo | None = None,
        with_vectors: bool = False,
    ) -> list[list[models.ScoredPoint]]:
        answer = self.truth if exact else self.ranked
        points = [models.ScoredPoint(id=hit, version=0, score=score) for hit, score in answer[:limit]]
        return [points for _ in vectors]


def check(ranked: Sequence[tuple[str, float]], truth: Sequence[tuple[str, float]], *, expected: Sequence[str]) -> float:
    return verify(Answers(ranked, truth, list(expected)), "c", expected, sample=100, min_recall=0.99)


ALIKE = [(f"p{number}", 1.0) for number in range(TOP)]


def test_points_that_share_the_first_place_pass() -> None:
    assert check(ALIKE, ALIKE, expected=[f"p{number}" for number in range(12)]) == 1.0


def test_a_point_that_is_not_first_is_refused() -> None:
    behind = [("p1", 1.0), ("p0", 0.999)]
    with pytest.raises(VerificationFailed, match="does not find itself"):
        check(behind, behind, expected=["p0"])


def test_a_different_count_is_refused() -> None:
    answers = Answers(ALIKE, ALIKE, ["p0", "p1", "stranger"])
    with pytest.raises(VerificationFailed, match="3 products and should have 2"):
        verify(answers, "c", ["p0", "p1"], sample=100, min_recall=0.99)


def test_neighbours_that_are_not_the_nearest_lower_the_recall() -> None:
    truth = [("p0", 1.0), *((f"near{number}", 0.9) for number in range(9))]
    ranked = [("p0", 1.0), *((f"far{number}", 0.5) for number in range(9))]
    with pytest.raises(VerificationFailed, match=r"is 0\.1000"):
        check(ranked, truth, expected=["p0"])


def test_a_neighbour_as_near_as_the_last_counts() -> None:
    truth = [("p0", 1.0), ("a", 0.9)]
    ranked = [("p0", 1.0), ("b", 0.9)]
    assert check(ranked, truth, expected=["p0"]) == 1.0
