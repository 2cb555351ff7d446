"""How sure a mean over queries is, and whether one release is better than another or only luckier with its queries."""

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
    """Where the mean would lie for other queries of the same kind, in 95 of 100 cases; NaN where there are none."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` is the second mean less the first, over the queries both were judged on; `p` how often chance alone
    would part them as far.
    """

    difference: float
    interval: Interval
    p: float
    queries: int


def bootstrap_interval(values: Values, *, samples: int = _SAMPLES, seed: int = 0) -> Interval:
    """The percentile interval of the mean of (Q,) values over queries drawn anew (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13).
    """
    if not len(values):
        return Interval(float("nan"), float("nan"))
    chance = np.random.default_rng(seed)
    means = np.empty(samples)
    for start in range(0, samples, _BLOCK):
        count = min(_BLOCK, samples - start)
        # How often each query is drawn, which is all that its mean depends on.
        drawn = chance.multinomial(len(values), np.full(len(values), 1 / len(values)), size=count)
        means[start : start + count] = drawn @ values / len(values)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(low), float(high))


def compare(first: Values, second: Values, *, samples: int = 10_000, seed: int = 0) -> Comparison:
    """Two releases on the same queries, (Q,) each, by their differences query by query: a bootstrap interval of the
    mean difference, and the randomisation test that swaps the two at random (Smucker, Allan and Carterette, "A
    Comparison of Statistical Significance Tests for Information Retrieval Evaluation", CIKM 2007).

    Queries that either has no value for are left out. Raises ValueError where the queries are not the same number.
    """
    if first.shape != second.shape:
        raise ValueError(f"values of {first.shape} and {second.shape} queries cannot be compared")
    both = ~(np.isnan(first) | np.isnan(second))
    difference = second[both] - first[both]
    if not len(difference):
        return Comparison(float("nan"), Interval(float("nan"), float("nan")), float("nan"), 0)
    mean = float(difference.mean())
    chance = np.random.default_rng(seed)
    as_far = 0
    for start in range(0, samples, _BLOCK):
        count = min(_BLOCK, samples - start)
        signs = chance.integers(0, 2, size=(count, len(difference)), dtype=np.int8) * 2 - 1
        # A hair of room, so that the observed arrangement counts among its equals whatever the order of its sum.
        as_far += int((np.abs(signs @ difference) >= abs(mean) * len(difference) - 1e-12).sum())
    p = (as_far + 1) / (samples + 1)
    return Comparison(mean, bootstrap_interval(difference, seed=seed), p, len(difference))
