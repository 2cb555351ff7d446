"""Confidence intervals of means over queries, and paired comparisons of two releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vitrine.types import Values

_SAMPLES: Final = 2000
_LEVEL: Final = 0.95
_BLOCK: Final = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval of the mean; NaN if there are no queries."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` is the second mean minus the first, over the queries with both values; `p` is the p-value."""

    difference: float
    interval: Interval
    p: float
    queries: int


def bootstrap_interval(values: Values, *, samples: int = _SAMPLES, seed: int = 0) -> Interval:
    """The bootstrap percentile interval of the mean of (Q,) values (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13).
    """
    if not len(values):
        return Interval(float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    means = np.empty(samples)
    for start in range(0, samples, _BLOCK):
        count = min(_BLOCK, samples - start)
        # How often each query is drawn: the mean depends on nothing else.
        drawn = random.multinomial(len(values), np.full(len(values), 1 / len(values)), size=count)
        means[start : start + count] = drawn @ values / len(values)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(low), float(high))


def compare(first: Values, second: Values, *, samples: int = 10_000, seed: int = 0) -> Comparison:
    """Compare two releases on the same queries, (Q,) values each: a bootstrap interval of the mean difference, and the
    randomisation test (Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for Information
    Retrieval Evaluation", CIKM 2007).

    Queries for which either value is NaN are left out. Raises ValueError if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"values of {first.shape} and {second.shape} queries cannot be compared")
    both = ~(np.isnan(first) | np.isnan(second))
    difference = second[both] - first[both]
    if not len(difference):
        return Comparison(float("nan"), Interval(float("nan"), float("nan")), float("nan"), 0)
    mean = float(difference.mean())
    random = np.random.default_rng(seed)
    as_far = 0
    for start in range(0, samples, _BLOCK):
        count = min(_BLOCK, samples - start)
        signs = random.integers(0, 2, size=(count, len(difference)), dtype=np.int8) * 2 - 1
        # The tolerance makes the observed arrangement count, whatever the order of summation.
        as_far += int((np.abs(signs @ difference) >= abs(mean) * len(difference) - 1e-12).sum())
    p = (as_far + 1) / (samples + 1)
    return Comparison(mean, bootstrap_interval(difference, seed=seed), p, len(difference))
