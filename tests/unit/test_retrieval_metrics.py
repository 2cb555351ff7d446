"""Retrieval metrics, against what a slow and plain reading of their definitions gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.vision.retrieval import equal_labels, rank_metrics, top_k


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    unit_rows: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit_rows


def whole_numbers(count: int, seed: int) -> np.ndarray:
    """Vectors whose products are exact, so that no rounding decides which of two comes first, and seldom equal."""
    return np.random.default_rng(seed).integers(-50, 51, (count, 8)).astype(np.float32)


def corners(count: int, seed: int) -> np.ndarray:
    """Unit vectors whose products are exact and, with sixteen vectors to choose from, often equal."""
    return np.random.default_rng(seed).choice([-0.5, 0.5], size=(count, 4)).astype(np.float32)


def plain_ranking(query: np.ndarray, gallery: np.ndarray, own: int) -> list[int]:
    scores = [float(np.dot(query, row)) for row in gallery]
    return sorted((row for row in range(len(gallery)) if row != own), key=lambda row: (-scores[row], row))


def plain_average_precision(ranking: list[int], relevant: set[int]) -> float:
    found, total = 0, 0.0
    for rank, row in enumerate(ranking, start=1):
        if row in relevant:
            found += 1
            total += found / rank
    return total / found if found else math.nan


def plain_relevant(label: np.ndarray, labels: np.ndarray, own: int) -> set[int]:
    return {
        row
        for row, other in enumerate(labels)
        if row != own and all(a == b and a != -1 for a, b in zip(label, other, strict=True))
    }


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    gallery_size=st.integers(1, 60),
    attributes=st.integers(1, 3),
    k=st.integers(1, 25),
    chunk=st.integers(1, 12),
    ties=st.booleans(),
)
def test_metrics_are_what_their_definitions_say(
    seed: int, gallery_size: int, attributes: int, k: int, chunk: int, ties: bool
) -> None:
    random = np.random.default_rng(seed)
    gallery = corners(gallery_size, seed) if ties else whole_numbers(gallery_size, seed)
    labels = random.integers(-1, 3, (gallery_size, attributes))
    own = random.integers(0, gallery_size, 11)
    queries, query_labels = gallery[own].copy(), labels[own]
    exclude = np.where(random.random(11) < 0.7, own, -1)

    found = rank_metrics(queries, gallery, equal_labels(query_labels, labels), k=k, exclude=exclude, chunk=chunk)
    indices, scores = top_k(queries, gallery, k, exclude, chunk=chunk)

    hits: dict[int, list[bool]] = {1: [], 10: [], 20: []}
    for query in range(11):
        ranking = plain_ranking(queries[query], gallery, exclude[query])
        relevant = plain_relevant(query_labels[query], labels, exclude[query])
        assert indices[query].tolist() == (ranking[:k] + [-1] * k)[:k]
        expected = plain_average_precision(ranking, relevant)
        assert found.average_precision[query] == pytest.approx(expected, abs=1e-12, nan_ok=True)
        if not relevant:
            assert math.isnan(found.precision_at_k[query])
            continue
        assert found.precision_at_k[query] == pytest.approx(len(relevant & set(ranking[:k])) / k, abs=1e-12)
        for depth, list_of_hits in hits.items():
            list_of_hits.append(bool(relevant & set(ranking[:depth])))
    assert found.left_out == 11 - len(hits[1])
    assert found.scored == len(hits[1])
    for depth, list_of_hits in hits.items():
        share = np.mean(list_of_hits) if list_of_hits else math.nan
        assert found.recall_at[depth] == pytest.approx(share, nan_ok=True)
    assert (scores[:, 1:] <= scores[:, :-1]).all()


def test_the_example_of_the_book_has_its_average_precision() -> None:
    # Relevant at ranks 1, 3 and 5: (1/1 + 2/3 + 3/5) / 3.
    gallery = np.array([[math.cos(angle), math.sin(angle)] for angle in np.linspace(0, 1, 5)], dtype=np.float32)
    labels = np.array([[1], [0], [1], [0], [1]])
    found = rank_metrics(gallery[:1], gallery, equal_labels(np.array([[1]]), labels), k=2)
    assert found.average_precision[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert found.precision_at_k[0] == 0.5
    assert found.mean_average_precision == found.average_precision[0]
    assert found.recall_at == {1: 1.0, 10: 1.0, 20: 1.0}


def test_equal_scores_are_ranked_in_the_gallerys_order() -> None:
    gallery = np.repeat(np.array([[1, 0], [0, 1]], dtype=np.float32), 4, axis=0)[[4, 0, 5, 1, 6, 2, 7, 3]]
    indices, scores = top_k(np.array([[1, 0]], dtype=np.float32), gallery, 8)
    assert indices.tolist() == [[1, 3, 5, 7, 0, 2, 4, 6]]
    assert scores.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_zero_and_minus_zero_are_equal_scores() -> None:
    gallery = np.array([[-0.0, 1], [0.0, 1], [-0.0, -1]], dtype=np.float32)
    indices, _ = top_k(np.array([[-1, 0.0]], dtype=np.float32), gallery, 3)
    assert indices.tolist() == [[0, 1, 2]]


def test_the_query_itself_is_never_among_its_matches() -> None:
    gallery = unit(50, 8, seed=1)
    own = np.arange(50)
    indices, scores = top_k(gallery, gallery, 50, own)
    assert not (indices == own[:, None]).any()
    assert (indices[:, -1] == -1).all(), "there are only 49 others"
    assert np.isneginf(scores[:, -1]).all()
    assert (np.sort(indices[:, :-1], axis=1) == [[row for row in range(50) if row != one] for one in own]).all()
    alone = rank_metrics(gallery, gallery, equal_labels(own[:, None], own[:, None]), exclude=own)
    assert alone.left_out == 50, "nothing but the query itself carries its label"


def test_scores_are_the_inner_products() -> None:
    gallery, queries = unit(300, 16, seed=2), unit(7, 16, seed=3)
    indices, scores = top_k(queries, gallery, 12)
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ gallery.T, indices, axis=1), atol=1e-6)
    np.testing.assert_array_equal(indices, np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :12])


def test_where_no_query_has_an_answer_the_means_are_not_numbers() -> None:
    gallery = unit(6, 4, seed=0)
    unknown = np.full((6, 2), -1)
    found = rank_metrics(gallery, gallery, equal_labels(unknown, unknown))
    assert (found.scored, found.left_out) == (0, 6)
    assert math.isnan(found.mean_average_precision)
    assert math.isnan(found.mean_precision_at_k)
    assert all(math.isnan(share) for share in found.recall_at.values())


def test_all_attributes_must_be_equal_and_known() -> None:
    queries = np.array([[1, 2, 3], [1, 2, -1]])
    gallery = np.array([[1, 2, 3], [1, 2, 4], [1, 2, -1], [-1, 2, 3]])
    relevant = equal_labels(queries, gallery)
    assert relevant(slice(0, 2)).tolist() == [[True, False, False, False], [False] * 4]


def test_relevance_may_be_any_function_and_is_not_written_to() -> None:
    gallery = unit(5, 4, seed=0)
    answers = np.ones((5, 5), dtype=np.bool_)
    answers.setflags(write=False)
    found = rank_metrics(gallery, gallery, lambda block: answers[block], k=4, exclude=np.arange(5))
    assert found.mean_average_precision == 1.0
    assert found.mean_precision_at_k == 1.0


def test_blocks_change_nothing() -> None:
    gallery = corners(700, seed=5)
    labels = np.random.default_rng(5).integers(0, 9, (700, 1))
    relevant = equal_labels(labels, labels)
    whole = rank_metrics(gallery, gallery, relevant, exclude=np.arange(700))
    parts = rank_metrics(gallery, gallery, relevant, exclude=np.arange(700), chunk=64)
    np.testing.assert_array_equal(whole.average_precision, parts.average_precision)
    np.testing.assert_array_equal(whole.precision_at_k, parts.precision_at_k)


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "exclude", "told"),
    [
        (unit(3, 4, 0), unit(3, 5, 0), 1, None, "ranked against"),
        (unit(3, 4, 0), np.empty((0, 4), dtype=np.float32), 1, None, "ranked against"),
        (unit(3, 4, 0).astype(np.float64), unit(3, 4, 0), 1, None, "float32"),
        (np.full((3, 4), np.nan, dtype=np.float32), unit(3, 4, 0), 1, None, "finite"),
        (unit(3, 4, 0), unit(3, 4, 0), 0, None, "k must"),
        (unit(3, 4, 0), unit(3, 4, 0), 1, np.arange(2), "exclude"),
    ],
)
def test_arguments_that_do_not_fit_are_told(
    queries: np.ndarray, gallery: np.ndarray, k: int, exclude: np.ndarray | None, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        top_k(queries, gallery, k, exclude)


def test_labels_of_different_attributes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="compared"):
        equal_labels(np.zeros((3, 1), dtype=np.int64), np.zeros((3, 2), dtype=np.int64))
