"""Confidence intervals and comparisons, tested on many samples of a population with a known mean."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vitrine.evaluation import bootstrap_interval, compare


def test_the_interval_contains_the_true_mean_at_about_its_confidence_level() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for number in range(300):
        interval = bootstrap_interval(rng.beta(5, 2, size=120), samples=400, seed=number)
        held += interval.low <= 5 / 7 <= interval.high
    assert 0.90 <= held / 300 <= 0.98


def test_more_queries_make_a_narrower_interval() -> None:
    rng = np.random.default_rng(1)
    widths = [
        interval.high - interval.low for interval in (bootstrap_interval(rng.random(count)) for count in (50, 800))
    ]
    assert widths[1] < widths[0] / 3


def test_intervals_are_the_same_for_the_same_seed_and_no_values_give_no_interval() -> None:
    values = np.random.default_rng(2).random(60)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)
    assert math.isnan(bootstrap_interval(np.empty(0)).low)


def test_a_small_gain_on_every_query_is_significant_and_no_gain_is_not() -> None:
    rng = np.random.default_rng(3)
    first = rng.random(300)
    better = compare(first, first + 0.02 + rng.normal(0, 0.05, 300))
    assert better.p < 0.01
    assert better.interval.low > 0
    assert better.difference == pytest.approx(0.02, abs=0.01)
    same = compare(first, first + rng.normal(0, 0.05, 300))
    assert same.p > 0.05
    assert same.interval.low < 0 < same.interval.high


def test_random_differences_are_significant_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(4)
    called = sum(compare(rng.random(40), rng.random(40), samples=400).p < 0.05 for _ in range(300))
    assert 3 <= called <= 30


def test_queries_without_a_value_are_left_out_and_the_same_release_differs_in_nothing() -> None:
    first = np.array([0.1, np.nan, 0.5, 0.7])
    found = compare(first, np.array([0.2, 0.3, np.nan, 0.8]), samples=100)
    assert found.queries == 2
    assert found.difference == pytest.approx(0.1)
    assert compare(first, first, samples=100).p == 1.0
    assert math.isnan(compare(np.array([np.nan]), np.array([1.0])).difference)
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(first, first[:2])
