"""Rankings are judged as a count by hand judges them, whatever the ties, the blocks and the size of the gallery."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vitrine.vision.retrieval import RECALL_AT, Rows, Vectors, equal_labels, rank_metrics, top_k

# Small whole numbers have inner products without rounding: scores are equal where they should be, and often are.
WHOLE = st.integers(-2, 2)
LABELS = st.integers(-1, 2)


@dataclass(frozen=True, slots=True)
class Case:
    """`queries` (Q, D), `gallery` (G, D), their labels (Q, A) and (G, A), and the gallery row that is the query."""

    queries: Vectors
    gallery: Vectors
    query_labels: Rows
    gallery_labels: Rows
    exclude: Rows | None


@st.composite
def cases(draw: st.DrawFn) -> Case:
    queries, gallery = draw(st.integers(0, 6)), draw(st.integers(1, 12))
    dim, attributes = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    own = arrays(np.int64, queries, elements=st.integers(-1, gallery - 1))
    return Case(
        queries=draw(arrays(np.float32, (queries, dim), elements=WHOLE)),
        gallery=draw(arrays(np.float32, (gallery, dim), elements=WHOLE)),
        query_labels=draw(arrays(np.int64, (queries, attributes), elements=LABELS)),
        gallery_labels=draw(arrays(np.int64, (gallery, attributes), elements=LABELS)),
        exclude=draw(st.none() | own),
    )


@given(case=cases(), k=st.integers(1, 20), chunk=st.none() | st.integers(1, 8))
def test_metrics_are_those_of_a_count_by_hand(case: Case, k: int, chunk: int | None) -> None:
    relevant = equal_labels(case.query_labels, case.gallery_labels)
    found = rank_metrics(case.queries, case.gallery, relevant, k=k, exclude=case.exclude, chunk=chunk)

    hits = [ranked_hits(case, query) for query in range(len(case.queries))]
    precisions = [average_precision(ranked) for ranked in hits]
    at_k = [sum(ranked[:k]) / k if any(ranked) else math.nan for ranked in hits]
    answered = [ranked for ranked in hits if any(ranked)]
    np.testing.assert_allclose(found.average_precision, precisions, rtol=1e-12)
    np.testing.assert_allclose(found.precision_at_k, at_k, rtol=1e-12)
    assert (found.k, found.scored, found.left_out) == (k, len(answered), len(hits) - len(answered))
    assert found.mean_average_precision == pytest.approx(mean([p for p in precisions if p == p]), nan_ok=True)
    assert found.mean_precision_at_k == pytest.approx(mean([p for p in at_k if p == p]), nan_ok=True)
    by_hand = {depth: mean([float(any(ranked[:depth])) for ranked in answered]) for depth in RECALL_AT}
    assert found.recall_at == pytest.approx(by_hand, nan_ok=True)


@given(case=cases(), k=st.integers(1, 20), chunk=st.none() | st.integers(1, 8))
def test_the_first_k_are_the_start_of_a_full_sort(case: Case, k: int, chunk: int | None) -> None:
    indices, scores = top_k(case.queries, case.gallery, k, case.exclude, chunk=chunk)

    assert [indices.dtype.name, scores.dtype.name] == ["int64", "float32"]
    assert indices.shape == scores.shape == (len(case.queries), k)
    for query in range(len(case.queries)):
        rows = ranking(case, query)[:k]
        missing = k - len(rows)
        assert indices[query].tolist() == rows + [-1] * missing
        by_hand = [score(case, query, row) for row in rows]
        assert scores[query].tolist() == by_hand + [-math.inf] * missing


@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_the_size_of_a_block_changes_nothing(chunk: int) -> None:
    random = np.random.default_rng(3)
    queries = random.integers(-3, 4, (40, 8)).astype(np.float32)
    gallery = random.integers(-3, 4, (90, 8)).astype(np.float32)
    relevant = equal_labels(random.integers(0, 5, (40, 1)), random.integers(0, 5, (90, 1)))
    whole, part = (rank_metrics(queries, gallery, relevant, chunk=size) for size in (None, chunk))

    np.testing.assert_array_equal(part.average_precision, whole.average_precision)
    np.testing.assert_array_equal(part.precision_at_k, whole.precision_at_k)
    assert part.recall_at == whole.recall_at
    for mine, theirs in zip(top_k(queries, gallery, 9, chunk=chunk), top_k(queries, gallery, 9), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_usual_vectors_of_length_1_are_ranked_as_by_a_stable_sort_of_their_scores() -> None:
    random = np.random.default_rng(5)
    gallery = random.standard_normal((300, 16)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    gallery[200:] = gallery[:100]
    indices, scores = top_k(gallery[:50], gallery, 300)

    exact = gallery[:50].astype(np.float64) @ gallery.astype(np.float64).T
    np.testing.assert_array_equal(indices, np.argsort(-exact.round(12), axis=1, kind="stable"))
    np.testing.assert_allclose(scores, np.take_along_axis(exact, indices, axis=1), atol=1e-6)


@pytest.mark.parametrize("k", [1, 15, 2000])
def test_the_first_of_a_large_gallery_are_those_of_a_stable_sort(k: int) -> None:
    random = np.random.default_rng(7)
    queries, gallery = (random.integers(-9, 10, (count, 32)).astype(np.float32) for count in (20, 5000))
    indices, _ = top_k(queries, gallery, k)
    np.testing.assert_array_equal(indices, np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :k])


def test_equal_scores_stand_in_the_order_of_the_gallery() -> None:
    indices, _ = top_k(vectors([1, 0]), vectors([0, 1], [1, 0], [0, -1], [1, 0], [1, 0]), 5)
    assert indices.tolist() == [[1, 3, 4, 0, 2]]


def test_nought_and_minus_nought_are_the_same_score() -> None:
    indices, _ = top_k(vectors([1]), vectors([-0.0], [0.0], [-0.0]), 3)
    assert indices.tolist() == [[0, 1, 2]]


def test_the_query_itself_counts_neither_as_found_nor_as_missed() -> None:
    gallery = vectors([1, 0], [0.8, 0.6], [0, 1])
    relevant = equal_labels(labels([0]), labels([0], [1], [0]))
    found = rank_metrics(gallery[:1], gallery, relevant, k=1, exclude=rows(0))
    assert found.average_precision.tolist() == [0.5]
    assert found.precision_at_k.tolist() == [0]
    assert top_k(gallery[:1], gallery, 3, rows(0))[0].tolist() == [[1, 2, -1]]


def test_a_query_of_minus_1_in_exclude_keeps_the_whole_gallery() -> None:
    gallery = vectors([1, 0], [0, 1])
    assert top_k(gallery, gallery, 2, rows(-1, 1))[0].tolist() == [[0, 1], [0, -1]]


def test_a_query_without_anything_relevant_is_left_out_of_the_means_and_counted() -> None:
    gallery = vectors([1, 0], [0, 1])
    relevant = equal_labels(labels([0], [7]), labels([0], [1]))
    found = rank_metrics(vectors([1, 0], [1, 0]), gallery, relevant, k=1)
    assert (found.scored, found.left_out) == (1, 1)
    np.testing.assert_array_equal(found.average_precision, [1, math.nan])
    np.testing.assert_array_equal(found.precision_at_k, [1, math.nan])
    assert (found.mean_average_precision, found.mean_precision_at_k, found.recall_at[1]) == (1, 1, 1)


def test_where_only_the_query_itself_would_be_relevant_it_is_left_out() -> None:
    gallery = vectors([1, 0], [0, 1])
    found = rank_metrics(gallery, gallery, equal_labels(labels([0], [1]), labels([0], [1])), exclude=rows(0, 1))
    assert (found.scored, found.left_out) == (0, 2)
    assert math.isnan(found.mean_average_precision)
    assert all(math.isnan(share) for share in found.recall_at.values())


def test_an_unknown_label_matches_nothing_itself_included() -> None:
    same = equal_labels(labels([-1], [2]), labels([-1], [2], [-1]))
    assert same(slice(0, 2)).tolist() == [[False, False, False], [False, True, False]]


def test_all_of_several_labels_must_be_equal_and_known() -> None:
    same = equal_labels(labels([1, 2], [1, -1]), labels([1, 2], [1, 3], [2, 1], [1, -1]))
    assert same(slice(0, 2)).tolist() == [[True, False, False, False], [False, False, False, False]]
    assert same(slice(1, 2)).tolist() == [[False, False, False, False]]


def test_a_gallery_smaller_than_k_still_has_its_precision_divided_by_k() -> None:
    found = rank_metrics(vectors([1]), vectors([1], [1]), equal_labels(labels([0]), labels([0], [0])), k=8)
    assert found.precision_at_k.tolist() == [0.25]
    assert found.average_precision.tolist() == [1]


def test_labels_of_different_attributes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        equal_labels(labels([1, 2]), labels([1]))
    with pytest.raises(ValueError, match="cannot be compared"):
        equal_labels(rows(1), labels([1]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["queries", "gallery"])
def test_vectors_that_are_not_finite_are_refused(bad: float, place: str) -> None:
    given_vectors = {"queries": vectors([1, 0]), "gallery": vectors([1, 0], [0, 1])}
    given_vectors[place][0, 1] = bad
    refused(given_vectors["queries"], given_vectors["gallery"], match="finite")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"k": 0}, "k must be"),
        ({"exclude": np.array([0, 1])}, "exclude has shape"),
        ({"gallery": np.zeros((0, 2), np.float32)}, "cannot be ranked"),
        ({"gallery": np.zeros((3, 4), np.float32)}, "cannot be ranked"),
        ({"queries": np.zeros(2, np.float32)}, "cannot be ranked"),
        ({"queries": np.zeros((1, 2))}, "float32"),
    ],
)
def test_what_cannot_be_ranked_is_refused_with_the_reason(arguments: dict[str, Any], match: str) -> None:
    refused(**{"queries": vectors([1, 0]), "gallery": vectors([1, 0], [0, 1]), **arguments}, match=match)


def refused(queries: Any, gallery: Any, *, match: str, k: int = 2, exclude: Rows | None = None) -> None:
    relevant = equal_labels(np.zeros((len(queries), 1), np.int64), np.zeros((len(gallery), 1), np.int64))
    with pytest.raises(ValueError, match=match):
        rank_metrics(queries, gallery, relevant, k=k, exclude=exclude)
    with pytest.raises(ValueError, match=match):
        top_k(queries, gallery, k, exclude)


def score(case: Case, query: int, row: int) -> float:
    return sum(float(a) * float(b) for a, b in zip(case.queries[query], case.gallery[row], strict=True))


def ranking(case: Case, query: int) -> list[int]:
    """Gallery rows from the best to the worst, without the query itself; Python's sort keeps the order of equals."""
    own = -1 if case.exclude is None else int(case.exclude[query])
    others = [row for row in range(len(case.gallery)) if row != own]
    return sorted(others, key=lambda row: -score(case, query, row))


def ranked_hits(case: Case, query: int) -> list[bool]:
    wanted = case.query_labels[query].tolist()
    return [-1 not in wanted and case.gallery_labels[row].tolist() == wanted for row in ranking(case, query)]


def average_precision(ranked: list[bool]) -> float:
    return mean([sum(ranked[: rank + 1]) / (rank + 1) for rank, hit in enumerate(ranked) if hit])


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def vectors(*lines: list[float]) -> Vectors:
    return np.array(lines, dtype=np.float32)


def labels(*lines: list[int]) -> Rows:
    return np.array(lines, dtype=np.int64)


def rows(*values: int) -> Rows:
    return np.array(values, dtype=np.int64)
