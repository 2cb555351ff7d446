"""Search variants: projection sizes, query expansion, augmentation, re-ranking and fusion, compared with naive
versions.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.evaluation import equal_labels, measure, top_k
from vitrine.evaluation.evaluate import Evaluator, Measured
from vitrine.evaluation.expansion import augment_gallery, expand_queries
from vitrine.evaluation.pca_sizes import measure_sizes, smallest_good
from vitrine.evaluation.ranking import blocks, unit_rows
from vitrine.evaluation.rerank import fused, inner_products, reranked

NAMES = ("average_precision", "precision@15")


def clouds(count: int, dim: int, classes: int, seed: int, spread: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around a center for each class, and their labels (count, 1)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    middles = rng.normal(size=(classes, dim))
    return unit_rows((middles[labels] + spread * rng.normal(size=(count, dim))).astype(np.float32)), labels[:, None]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), chunk=st.integers(5, 40))
def test_every_size_equals_a_projection_with_that_many_components(seed: int, chunk: int) -> None:
    vectors, labels = clouds(120, 12, 4, seed)
    queries, own = vectors[:30] * np.float32(3), np.arange(30)
    relevant = equal_labels(labels[:30], labels)
    found = measure_sizes(queries, vectors, [3, 2, 5, 12, 5], relevant, NAMES, own=own, chunk=chunk)
    assert sorted(found) == [2, 3, 5, 12]
    for size, measured in found.items():
        alone = measure(unit_rows(queries[:, :size]), unit_rows(vectors[:, :size]), relevant, NAMES, own=own)
        for name in NAMES:
            assert measured.mean(name) == pytest.approx(alone.mean(name), abs=1e-3), size


def test_a_size_that_the_projection_does_not_have_is_refused() -> None:
    vectors, labels = clouds(20, 6, 2, 0)
    with pytest.raises(ValueError, match=r"of 6 components there are no sizes \[7\]"):
        measure_sizes(vectors, vectors, [3, 7], equal_labels(labels, labels))


def test_the_smallest_size_within_a_standard_error_of_the_best_is_good_enough() -> None:
    def of(*values: float) -> Measured:
        return Measured({"precision@15": np.array(values)})

    sizes = {4: of(0.2, 0.3, 0.4), 8: of(0.45, 0.5, 0.55), 16: of(0.4, 0.55, 0.6), 32: of(0.4, 0.5, 0.6)}
    assert smallest_good(sizes, "precision@15") == 8
    assert smallest_good({4: of(0.2, 0.2), 8: of(0.3, 0.3)}, "precision@15") == 8, (
        "without spread only the best will do"
    )
    assert smallest_good({4: of(0.2), 8: of(0.3)}, "precision@15") == 8
    with pytest.raises(ValueError, match="no query has an answer"):
        smallest_good({4: of(float("nan"))}, "precision@15")


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_an_expanded_query_is_the_weighted_mean_of_itself_and_its_results(alpha: float) -> None:
    gallery, _ = clouds(60, 8, 3, seed=2)
    queries, own = gallery[:7], np.arange(7)
    found = expand_queries(queries, gallery, k=4, alpha=alpha, own=own)
    for number, query in enumerate(queries):
        scores = gallery @ query
        scores[number] = -np.inf
        first = np.argsort(-scores, kind="stable")[:4]
        plain = query + sum(gallery[row] * max(scores[row], 0.0) ** alpha for row in first if alpha or scores[row] > -1)
        np.testing.assert_allclose(found[number], plain / np.linalg.norm(plain), atol=1e-5)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_an_expansion_respects_the_filter_and_works_if_the_gallery_is_smaller_than_k() -> None:
    gallery, _ = clouds(5, 8, 2, seed=3)
    queries, _ = clouds(2, 8, 2, seed=4)
    only_two = np.array([[True, True, True, False, False]] * 2)
    found = expand_queries(queries, gallery, k=50, ignore=lambda block: only_two[block])
    np.testing.assert_allclose(found, unit_rows(queries + gallery[3] + gallery[4]), atol=1e-5)
    nothing = np.ones((2, 5), dtype=np.bool_)
    alone = expand_queries(queries, gallery, k=3, ignore=lambda block: nothing[block])
    np.testing.assert_allclose(alone, queries, atol=1e-6)


def test_expansion_augmentation_and_reranking_help_where_classes_are_clouds() -> None:
    gallery, labels = clouds(600, 24, 6, seed=5, spread=1.6)
    own = np.arange(80)
    relevant = equal_labels(labels[:80], labels)
    plain = measure(gallery[:80], gallery, relevant, own=own)
    expanded = measure(expand_queries(gallery[:80], gallery, k=10, own=own), gallery, relevant, own=own)
    smoothed = augment_gallery(gallery, k=10)
    augmented = measure(smoothed[:80], smoothed, relevant, own=own)
    evaluator = Evaluator(("average_precision", "precision@15"), 80, 600, relevant, own=own)
    scores = reranked(gallery[:80], gallery, candidates=200, own=own)
    for block in blocks(80, 600, 33):
        evaluator.add(block, scores(block))
    for way in (expanded, augmented, evaluator.measured()):
        assert way.mean("precision@15") > plain.mean("precision@15") + 0.02


def test_reranking_moves_only_the_candidates_and_never_returns_the_query() -> None:
    gallery, _ = clouds(90, 8, 4, seed=6)
    own = np.arange(10)
    scores = reranked(gallery[:10], gallery, candidates=20, k1=6, k2=3, own=own)(slice(0, 10))
    before, _ = top_k(gallery[:10], gallery, 89, own)
    for query in range(10):
        after = [row for row in np.argsort(-scores[query], kind="stable") if row != query]
        assert set(after[:20]) == set(before[query, :20])
        assert after[20:] == before[query, 20:].tolist()
        assert scores[query, query] == scores[query].min()


def test_reranking_works_with_few_or_no_candidates() -> None:
    gallery, _ = clouds(6, 4, 2, seed=7)
    ignored = np.array([[True] * 6, [True] * 5 + [False]])
    scores = reranked(gallery[:2], gallery, ignore=lambda block: ignored[block])(slice(0, 2))
    assert np.isfinite(scores).all()
    assert scores[1].argmax() == 5


def test_fused_scores_equal_those_of_concatenated_vectors() -> None:
    first, _ = clouds(80, 8, 3, seed=8)
    second, _ = clouds(80, 6, 3, seed=9)
    both = fused([inner_products(first, first), inner_products(second, second)], [0.7, 0.3])(slice(0, 80))
    joined = np.concatenate([first * np.sqrt(0.7), second * np.sqrt(0.3)], axis=1)
    np.testing.assert_allclose(both, joined @ joined.T, atol=1e-5)


def test_measuring_sizes_reports_progress_and_can_be_stopped() -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    relevant = equal_labels(np.arange(60)[:, None] % 3, np.arange(60)[:, None] % 3)
    progress: list[tuple[int, int]] = []
    measure_sizes(vectors, vectors, [2, 4, 6], relevant, chunk=20, step=lambda *one: progress.append(one))
    assert progress == [(done, 9) for done in range(1, 10)]

    class Stop(Exception): ...

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise Stop

    with pytest.raises(Stop):
        measure_sizes(vectors, vectors, [2, 4, 6], relevant, chunk=20, step=stop)
