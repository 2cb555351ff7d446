"""Retrieval metrics, compared with a naive implementation and with scikit-learn."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from vitrine.evaluation import Metric, equal_labels, measure, rankings, shared_labels, top_k, unequal_labels
from vitrine.evaluation import ranking as ranking_module

NAMES = (
    "average_precision",
    "average_precision@5",
    "precision@4",
    "recall@3",
    "share_found@6",
    "reciprocal_rank",
    "r_precision",
    "ndcg@7",
)


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    unit_rows: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit_rows


def whole_numbers(count: int, seed: int) -> np.ndarray:
    """Vectors with exact products that are seldom equal, so that rounding does not decide the order."""
    return np.random.default_rng(seed).integers(-50, 51, (count, 8)).astype(np.float32)


def corners(count: int, seed: int) -> np.ndarray:
    """Unit vectors with exact products that are often equal, because there are only sixteen vectors to choose from."""
    return np.random.default_rng(seed).choice([-0.5, 0.5], size=(count, 4)).astype(np.float32)


def naive_ranking(query: np.ndarray, gallery: np.ndarray, left_out: set[int]) -> list[int]:
    scores = [float(np.dot(query, row)) for row in gallery]
    return sorted((row for row in range(len(gallery)) if row not in left_out), key=lambda row: (-scores[row], row))


def naive_relevant(label: np.ndarray, labels: np.ndarray, left_out: set[int]) -> set[int]:
    return {
        row
        for row, other in enumerate(labels)
        if row not in left_out and all(a == b and a != -1 for a, b in zip(label, other, strict=True))
    }


def naive_grades(label: np.ndarray, labels: np.ndarray) -> list[int]:
    same = [[a == b and a != -1 for a, b in zip(label, other, strict=True)] for other in labels]
    return [sum(row) if row[0] else 0 for row in same]


def naive_ndcg(gains: list[int], k: int) -> float:
    def dcg(values: list[int]) -> float:
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(values[:k], start=1))

    return dcg(gains) / dcg(sorted(gains, reverse=True)) if any(gains) else math.nan


def naive_metrics(ranking: list[int], relevant: set[int], grades: list[int]) -> dict[str, float]:
    """Every metric of NAMES, computed by loops."""
    gains = [grades[row] for row in ranking]
    expected = dict.fromkeys(NAMES, math.nan) | {"ndcg@7": naive_ndcg(gains, 7)}
    if not relevant:
        return expected
    hits = [row in relevant for row in ranking]

    def precision(k: int) -> float:
        return sum(hits[:k]) / k

    def average(k: int) -> float:
        summed = sum(precision(rank) for rank in range(1, min(k, len(hits)) + 1) if hits[rank - 1])
        return summed / min(len(relevant), k)

    return expected | {
        "average_precision": average(len(hits)),
        "average_precision@5": average(5),
        "precision@4": precision(4),
        "recall@3": float(any(hits[:3])),
        "share_found@6": sum(hits[:6]) / len(relevant),
        "reciprocal_rank": 1 / (hits.index(True) + 1),
        "r_precision": precision(len(relevant)),
    }


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    gallery_size=st.integers(1, 60),
    attributes=st.integers(1, 3),
    k=st.integers(1, 25),
    chunk=st.integers(1, 12),
    ties=st.booleans(),
    filtered=st.booleans(),
)
def test_metrics_match_their_definitions(
    seed: int, gallery_size: int, attributes: int, k: int, chunk: int, ties: bool, filtered: bool
) -> None:
    random = np.random.default_rng(seed)
    gallery = corners(gallery_size, seed) if ties else whole_numbers(gallery_size, seed)
    labels = random.integers(-1, 3, (gallery_size, attributes))
    colours = random.integers(0, 2, (gallery_size, 1))
    picked = random.integers(0, gallery_size, 11)
    queries, query_labels = gallery[picked].copy(), labels[picked]
    own = np.where(random.random(11) < 0.7, picked, -1)
    ignore = unequal_labels(colours[picked], colours) if filtered else None

    found = measure(
        queries, gallery, equal_labels(query_labels, labels), NAMES,
        own=own, ignore=ignore, grades=shared_labels(query_labels, labels), chunk=chunk,
    )  # fmt: skip
    indices, scores = top_k(queries, gallery, k, own, ignore=ignore, chunk=chunk)

    answered = 0
    for query in range(11):
        left_out = {int(own[query])} | (
            {row for row in range(gallery_size) if colours[row] != colours[picked[query]]} if filtered else set()
        )
        ranking = naive_ranking(queries[query], gallery, left_out)
        relevant = naive_relevant(query_labels[query], labels, left_out)
        assert indices[query].tolist() == (ranking[:k] + [-1] * k)[:k]
        expected = naive_metrics(ranking, relevant, naive_grades(query_labels[query], labels))
        for name in NAMES:
            assert found.values[name][query] == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name
        answered += bool(relevant)
    assert (found.scored, found.left_out) == (answered, 11 - answered)
    assert (scores[:, 1:] <= scores[:, :-1]).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), gallery_size=st.integers(2, 50), ties=st.booleans(), k=st.integers(1, 60))
def test_with_ties_the_metrics_match_scikit_learn(seed: int, gallery_size: int, ties: bool, k: int) -> None:
    random = np.random.default_rng(seed)
    gallery = corners(gallery_size, seed) if ties else whole_numbers(gallery_size, seed)
    queries = corners(9, seed + 1)[:, :4] if ties else whole_numbers(9, seed + 1)
    labels, asked = random.integers(0, 3, (gallery_size, 2)), random.integers(0, 3, (9, 2))
    relevant, grades = equal_labels(asked, labels), shared_labels(asked, labels)
    names = ("average_precision", f"ndcg@{k}")
    found = measure(queries, gallery, relevant, names, grades=grades, ties="together", chunk=4)
    flags, gains, scores = relevant(slice(0, 9)), grades(slice(0, 9)), queries @ gallery.T
    for query in range(9):
        if flags[query].any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # from scikit-learn, for queries of a single class
                expected = average_precision_score(flags[query], scores[query])
            assert found.values["average_precision"][query] == pytest.approx(expected, abs=1e-12)
        if gains[query].any():
            expected = ndcg_score(gains[query : query + 1], scores[query : query + 1], k=k)
            assert found.values[f"ndcg@{k}"][query] == pytest.approx(expected, abs=1e-12)


def test_the_textbook_example_has_its_average_precision() -> None:
    # Relevant at ranks 1, 3 and 5: (1/1 + 2/3 + 3/5) / 3.
    gallery = np.array([[math.cos(angle), math.sin(angle)] for angle in np.linspace(0, 1, 5)], dtype=np.float32)
    labels = np.array([[1], [0], [1], [0], [1]])
    names = ("average_precision", "precision@2", "recall@1", "recall@10")
    found = measure(gallery[:1], gallery, equal_labels(np.array([[1]]), labels), names)
    assert found.means() == pytest.approx(
        {"average_precision": (1 + 2 / 3 + 3 / 5) / 3, "precision@2": 0.5, "recall@1": 1.0, "recall@10": 1.0}
    )


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
    alone = measure(gallery, gallery, equal_labels(own[:, None], own[:, None]), own=own)
    assert alone.left_out == 50, "nothing but the query itself carries its label"


def test_scores_are_the_inner_products() -> None:
    gallery, queries = unit(300, 16, seed=2), unit(7, 16, seed=3)
    indices, scores = top_k(queries, gallery, 12)
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ gallery.T, indices, axis=1), atol=1e-6)
    np.testing.assert_array_equal(indices, np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :12])


def test_rankings_contain_every_row_once_with_its_relevance() -> None:
    gallery, labels = unit(40, 8, seed=4), np.arange(40)[:, None] % 3
    for block, ranking in rankings(gallery, gallery, equal_labels(labels, labels), chunk=16):
        rows = ranking.rows(40)
        assert (np.sort(rows, axis=1) == np.arange(40)).all()
        np.testing.assert_array_equal(ranking.relevant, labels[rows, 0] == labels[block])


def test_if_no_query_has_a_relevant_row_the_means_are_nan() -> None:
    gallery = unit(6, 4, seed=0)
    unknown = np.full((6, 2), -1)
    found = measure(
        gallery, gallery, equal_labels(unknown, unknown), NAMES, grades=shared_labels(unknown, unknown)
    )  # fmt: skip
    assert (found.scored, found.left_out) == (0, 6)
    assert all(math.isnan(mean) for mean in found.means().values())
    assert math.isnan(found.interval("average_precision").low)


def test_if_every_row_is_relevant_all_metrics_are_perfect() -> None:
    gallery, one_class = unit(6, 4, seed=0), np.zeros((6, 1), dtype=np.int64)
    found = measure(gallery, gallery, equal_labels(one_class, one_class), own=np.arange(6))
    assert found.means() == {"average_precision": 1.0, "precision@15": pytest.approx(5 / 15)}


def test_all_attributes_must_be_equal_and_known() -> None:
    queries = np.array([[1, 2, 3], [1, 2, -1]])
    gallery = np.array([[1, 2, 3], [1, 2, 4], [1, 2, -1], [-1, 2, 3]])
    relevant = equal_labels(queries, gallery)
    assert relevant(slice(0, 2)).tolist() == [[True, False, False, False], [False] * 4]
    assert shared_labels(queries, gallery)(slice(0, 2)).tolist() == [[3, 2, 2, 0], [2, 2, 2, 0]]


def test_relevance_may_be_any_function_and_its_result_is_not_modified() -> None:
    gallery = unit(5, 4, seed=0)
    answers = np.ones((5, 5), dtype=np.bool_)
    answers.setflags(write=False)
    found = measure(
        gallery, gallery, lambda block: answers[block], ("average_precision", "precision@4"), own=np.arange(5)
    )
    assert found.means() == {"average_precision": 1.0, "precision@4": 1.0}


def test_torch_and_numpy_give_the_same_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = whole_numbers(20, seed=3), whole_numbers(300, seed=4)
    labels = np.arange(300)[:, None] % 7
    relevant = equal_labels(labels[:20], labels)
    plain, first = measure(queries, gallery, relevant), top_k(queries, gallery, 9)
    # On the CPU device of torch, which supports the same calls as a GPU.
    monkeypatch.setattr(ranking_module, "_torch", lambda: torch)
    monkeypatch.setattr(ranking_module, "_device", lambda: "cpu")
    through = measure(queries, gallery, relevant)
    for name, values in plain.values.items():
        np.testing.assert_array_equal(through.values[name], values)
    for one, other in zip(top_k(queries, gallery, 9), first, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_gpu_and_numpy_give_the_same_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = whole_numbers(20, seed=3), whole_numbers(300, seed=4)
    found = top_k(queries, gallery, 9)
    monkeypatch.setattr(ranking_module, "_torch", lambda: None)
    for one, other in zip(found, top_k(queries, gallery, 9), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_block_size_does_not_affect_the_result() -> None:
    gallery = corners(700, seed=5)
    labels = np.random.default_rng(5).integers(0, 9, (700, 1))
    relevant = equal_labels(labels, labels)
    whole = measure(gallery, gallery, relevant, own=np.arange(700))
    parts = measure(gallery, gallery, relevant, own=np.arange(700), chunk=64)
    for name, values in whole.values.items():
        np.testing.assert_array_equal(values, parts.values[name])


@pytest.mark.parametrize("name", ["mAP", "precision", "precision@0", "reciprocal_rank@3", "recall@-1", "recall@ten"])
def test_an_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Metric.named(name)


def test_ndcg_needs_grades() -> None:
    gallery, labels = unit(4, 4, seed=0), np.zeros((4, 1), dtype=np.int64)
    with pytest.raises(ValueError, match="grades"):
        measure(gallery, gallery, equal_labels(labels, labels), ("ndcg@5",))


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "own", "message"),
    [
        (unit(3, 4, 0), unit(3, 5, 0), 1, None, "ranked against"),
        (unit(3, 4, 0), np.empty((0, 4), dtype=np.float32), 1, None, "ranked against"),
        (unit(3, 4, 0).astype(np.float64), unit(3, 4, 0), 1, None, "float32"),
        (np.full((3, 4), np.nan, dtype=np.float32), unit(3, 4, 0), 1, None, "3 rows of the queries .* finite"),
        (unit(3, 4, 0), np.diag([1, np.inf, 1, 1]).astype(np.float32), 1, None, "1 rows of the gallery .* first: 1"),
        (unit(3, 4, 0), unit(3, 4, 0), 0, None, "k must"),
        (unit(3, 4, 0), unit(3, 4, 0), 1, np.arange(2), "own rows"),
    ],
)
def test_arguments_that_do_not_match_are_refused(
    queries: np.ndarray, gallery: np.ndarray, k: int, own: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(queries, gallery, k, own)


def test_labels_of_different_attributes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="compared"):
        equal_labels(np.zeros((3, 1), dtype=np.int64), np.zeros((3, 2), dtype=np.int64))
