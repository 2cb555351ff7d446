"""Calibration: curve, inverse, error, and fit on matches with known relevance; and the OOD detector."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.evaluation.calibration import ScoredMatches, calibrate, collect_matches, confidence_of
from trainer.evaluation.ood import OodFeatures, fit_ood_detector
from trainer.evaluation.ood_samples import ood_samples
from vitrine.evaluation.calibration import Curve, calibration_error, reliability
from vitrine.evaluation.ranking import unit_rows
from vitrine.releases import Calibration

CURVE = Curve.of([0.0, 0.5, 0.8, 1.0], [0.0, 0.1, 0.1, 0.9])


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_probability_never_falls_with_the_score(one: float, other: float) -> None:
    low, high = CURVE.confidence([min(one, other), max(one, other)])
    assert 0 <= low <= high <= 1


@given(st.floats(0.001, 0.9))
def test_the_inverse_is_the_lowest_score_that_reaches_a_confidence(confidence: float) -> None:
    least = CURVE.least_score(confidence)
    assert least is not None
    assert CURVE.confidence(least) == pytest.approx(confidence, abs=1e-9) or CURVE.confidence(least) >= confidence
    assert CURVE.confidence(least - 1e-3) < confidence


def test_a_confidence_that_no_score_or_every_score_reaches_is_reported() -> None:
    assert CURVE.least_score(0.95) is None
    assert CURVE.least_score(0.0) == -1.0


@pytest.mark.parametrize(
    ("scores", "probabilities"),
    [([0.0], [0.0]), ([0.0, 0.0], [0.0, 1.0]), ([0.0, 1.0], [0.5, 0.4]), ([0.0, 1.0], [0.0, 1.1]), ([0, 1], [0.1])],
)
def test_knots_that_do_not_increase_are_refused(scores: list[float], probabilities: list[float]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Curve.of(scores, probabilities)
    with pytest.raises(ValidationError):
        Calibration(attribute="kind", scores=tuple(scores), probabilities=tuple(probabilities), pairs=9)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    confidence = np.array([0.05, 0.05, 0.55, 0.55, 0.55, 0.55])
    right = np.array([False, False, True, True, True, False])
    found = reliability(confidence, right, bins=10)
    assert [(one.count, one.right) for one in found] == [(2, 0.0), (4, 0.75)]
    assert calibration_error(confidence, right, bins=10) == pytest.approx((2 * 0.05 + 4 * 0.2) / 6)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0.0
    assert math.isnan(calibration_error(np.empty(0), np.empty(0, dtype=np.bool_)))


def matches(count: int, seed: int) -> ScoredMatches:
    rng = np.random.default_rng(seed)
    scores = rng.beta(8, 2, count)
    return ScoredMatches(
        scores, rng.random(count) < 1 / (1 + np.exp(-12 * (scores - 0.75))), np.zeros(count, dtype=np.int64)
    )


def test_a_calibration_holds_for_held_out_matches() -> None:
    calibration = calibrate(matches(30_000, seed=0), attribute="articleType")
    assert calibration is not None
    assert len(calibration.scores) <= 50
    others = matches(10_000, seed=1)
    assert calibration_error(confidence_of(calibration, others, np.ones((1, 2), dtype=np.float32)), others.right) < 0.02
    curve = Curve.of(calibration.scores, calibration.probabilities)
    for score in (0.5, 0.7, 0.8, 0.95):
        assert curve.confidence(score) == pytest.approx(1 / (1 + np.exp(-12 * (score - 0.75))), abs=0.05)
    assert curve.confidence(0.0) == 0.0, "what is less like than anything seen is less likely right"


def test_too_few_or_equal_matches_give_no_calibration() -> None:
    assert calibrate(matches(50, seed=0), attribute="kind") is None
    right, queries = np.ones(500, dtype=np.bool_), np.zeros(500, dtype=np.int64)
    assert calibrate(ScoredMatches(np.full(500, 0.5), right, queries), attribute="kind") is None
    all_right = calibrate(ScoredMatches(np.linspace(0.5, 0.9, 500), right, queries), attribute="kind")
    assert all_right is not None
    assert all_right.probabilities[-1] == 1.0


def test_the_matches_are_the_first_fifteen_of_each_query_without_itself() -> None:
    rng = np.random.default_rng(3)
    vectors = unit_rows(rng.normal(size=(60, 6)).astype(np.float32))
    kinds = rng.integers(0, 3, 60)
    queries, gallery = np.arange(50, 60), np.arange(10, 60)
    pairs = collect_matches(vectors, kinds, queries, gallery, most=100, seed=0)
    assert len(pairs.scores) == 10 * 15
    assert pairs.scores.max() < 0.999
    expected = []
    for query in queries:
        others = [row for row in gallery if row != query]
        ranked = sorted(others, key=lambda row: -float(vectors[row] @ vectors[query]))[:15]
        expected += [bool(kinds[row] == kinds[query]) for row in ranked]
    assert sorted(pairs.right.tolist()) == sorted(expected)
    assert set(pairs.queries) == set(queries)


def around(direction: int, count: int, seed: int) -> np.ndarray:
    """Unit vectors around one of eight directions."""
    vectors = np.random.default_rng(seed).normal(0, 0.25, size=(count, 8)).astype(np.float32)
    vectors[:, direction] += 1
    return unit_rows(vectors)


def test_queries_near_ood_samples_are_rejected_with_confidence_zero() -> None:
    products = np.concatenate([around(0, 300, seed=0), around(1, 300, seed=1)])
    train, validation = np.arange(0, 600, 2), np.arange(1, 600, 2)
    plane = fit_ood_detector(
        products, train, validation, OodFeatures(around(2, 100, seed=2), around(3, 50, seed=5)), seed=0
    )
    assert plane.pictures == 100
    curve = Calibration(attribute="kind", scores=(0.0, 1.0), probabilities=(0.2, 1.0), pairs=9, familiarity=plane)
    assert curve.boundary is not None
    familiar = curve.boundary.familiar
    assert familiar(products[validation]).mean() >= 0.98, "all but two in a hundred, at the most"
    assert familiar(5 * around(0, 200, seed=3)).mean() > 0.9, "the length of a feature tells nothing"
    assert familiar(around(3, 200, seed=6)).mean() > 0.9, "products that were changed are familiar too"
    strange = around(2, 200, seed=4)
    assert familiar(strange).mean() < 0.03
    pairs = ScoredMatches(np.full(400, 0.9), np.zeros(400, dtype=np.bool_), np.arange(200).repeat(2))
    assert (confidence_of(curve, pairs, strange) == 0).mean() > 0.97
    assert confidence_of(curve.model_copy(update={"familiarity": None}), pairs, strange).min() > 0.9


def test_ood_samples_are_reproducible_and_all_different() -> None:
    first, again = ood_samples(32), ood_samples(32)
    assert [one.tobytes() for one in first] == [one.tobytes() for one in again]
    assert len({one.tobytes() for one in first}) == 32
    assert all(one.mode == "RGB" and min(one.size) >= 96 and max(one.size) < 320 for one in first)
