"""Retrieval metrics, and relevance by labels.

A metric takes the relevance of a block of rankings, (B, G) in ranking order, and returns (B,) float64 from 0 to 1, NaN
for a query without a relevant gallery row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vitrine.evaluation.ranking import Pairs
from vitrine.types import Flags, Rows, Values


def average_precision(ranked: Flags, *, k: int | None = None, tie_ends: Rows | None = None) -> Values:
    """The mean of the precision at the rank of each relevant row (Manning, Raghavan and Schuetze, "Introduction to
    Information Retrieval", 2008, section 8.4).

    With `k` only the first `k` ranks count, and the sum is divided by min(k, number of relevant rows). With `tie_ends`
    (B, G) rows of equal score share the precision at the last of them, like scikit-learn's average_precision_score.
    """
    total = ranked.sum(axis=1)
    looked = ranked if k is None else ranked[:, :k]
    rows, ranks = np.nonzero(looked)
    if tie_ends is None:
        found = np.bincount(rows, minlength=len(ranked))
        before = np.cumsum(found) - found
        precision = (np.arange(1, len(rows) + 1) - before[rows]) / (ranks + 1)
    else:
        last = tie_ends[rows, ranks]
        precision = np.cumsum(ranked, axis=1)[rows, last] / (last + 1)
    sums = np.bincount(rows, weights=precision, minlength=len(ranked))
    return _where_answered(sums, total if k is None else np.minimum(total, k), total)


def precision(ranked: Flags, k: int) -> Values:
    """The number of relevant rows among the first `k`, divided by `k`, also if the gallery is smaller."""
    return _where_answered(ranked[:, :k].sum(axis=1), k, ranked.sum(axis=1))


def recall(ranked: Flags, k: int) -> Values:
    """Recall@k of metric learning (hit@k): 1 if a relevant row is among the first `k`.

    Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", TPAMI 2011; DeepFashion's In-shop
    benchmark.
    """
    return _where_answered(ranked[:, :k].sum(axis=1) > 0, 1, ranked.sum(axis=1))


def share_found(ranked: Flags, k: int) -> Values:
    """Recall@k of information retrieval: the share of all relevant rows that are among the first `k`."""
    total = ranked.sum(axis=1)
    return _where_answered(ranked[:, :k].sum(axis=1), total, total)


def reciprocal_rank(ranked: Flags) -> Values:
    """1 / rank of the first relevant row. The mean over queries is MRR."""
    return _where_answered(1.0, ranked.argmax(axis=1) + 1, ranked.sum(axis=1))


def r_precision(ranked: Flags) -> Values:
    """The precision at R, where R is the number of relevant rows."""
    total = ranked.sum(axis=1)
    within = np.arange(ranked.shape[1])[None, :] < total[:, None]
    return _where_answered((ranked & within).sum(axis=1), total, total)


def ndcg(grades: npt.NDArray[np.uint8], histogram: Rows, k: int, *, tie_ends: Rows | None = None) -> Values:
    """Normalised discounted cumulative gain of the first `k` (Jarvelin and Kekalainen, "Cumulated Gain-Based Evaluation
    of IR Techniques", TOIS 2002). The gain is the grade, the discount is log2(1 + rank).

    `grades` are those of the ranking, (B, k) or more columns; `histogram` (B, M + 1) counts the gallery rows of each
    grade from 0 to M. With `tie_ends` (B, G), which needs all G grades, rows of equal score share their mean gain
    (McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
    Scores", ECIR 2008), like scikit-learn's ndcg_score.
    """
    gains = grades.astype(np.float64) if tie_ends is None else _mean_gains(grades, tie_ends)
    found = (gains[:, :k] * _discounts(min(k, gains.shape[1]))).sum(axis=1)
    best = _best_gains(histogram, k)
    return _where_answered(found, best, histogram[:, 1:].sum(axis=1))


def grade_histogram(grades: npt.NDArray[np.uint8], highest: int) -> Rows:
    """(B, highest + 1): the count of each grade in (B, G)."""
    return np.stack([(grades == grade).sum(axis=1) for grade in range(highest + 1)], axis=1)


def _best_gains(histogram: Rows, k: int) -> Values:
    """(B,) the best possible gain: the gain of a ranking by falling grade."""
    sums = np.concatenate([[0.0], np.cumsum(_discounts(k))])
    best = np.zeros(len(histogram))
    filled = np.zeros(len(histogram), dtype=np.int64)
    for grade in range(histogram.shape[1] - 1, 0, -1):
        upto = np.minimum(filled + histogram[:, grade], k)
        best += grade * (sums[upto] - sums[filled])
        filled = upto
    return best


def _mean_gains(grades: npt.NDArray[np.uint8], tie_ends: Rows) -> Values:
    """(B, G) with the gains of each tie replaced by their mean."""
    count, width = grades.shape
    before = np.concatenate([np.zeros((count, 1)), np.cumsum(grades, axis=1, dtype=np.float64)], axis=1)
    starts = np.zeros_like(tie_ends)
    changed = tie_ends[:, 1:] != tie_ends[:, :-1]
    starts[:, 1:] = np.where(changed, np.arange(1, width), 0)
    starts = np.maximum.accumulate(starts, axis=1)
    rows = np.arange(count)[:, None]
    means: Values = (before[rows, tie_ends + 1] - before[rows, starts]) / (tie_ends + 1 - starts)
    return means


def _discounts(count: int) -> Values:
    discounts: Values = 1.0 / np.log2(np.arange(count) + 2)
    return discounts


def _where_answered(
    value: Values | Rows | Flags | float, divisor: Values | Rows | int, answers: Rows | Flags
) -> Values:
    answered = answers > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        quotients: Values = np.where(answered, value / np.asarray(divisor, dtype=np.float64), np.nan)
    return quotients


# Grades of relevance: a slice of query rows in, (rows of the slice, G) uint8 out; 0: not relevant.
Grades = Callable[[slice], npt.NDArray[np.uint8]]

UNKNOWN = -1


def equal_labels(query_labels: Rows, gallery_labels: Rows) -> Pairs:
    """Relevance by equality of labels, (Q, A) and (G, A) int64: all A attributes must be equal.

    A label of -1 is unknown and equals nothing, not even itself. Raises ValueError if the shapes do not match.
    """
    query_codes, gallery_codes = _codes(query_labels, gallery_labels)

    def relevant(block: slice) -> Flags:
        flags: Flags = query_codes[block, None] == gallery_codes[None, :]
        return flags

    return relevant


def unequal_labels(query_labels: Rows, gallery_labels: Rows) -> Pairs:
    """The opposite of `equal_labels`: the rows that a filter by the query's labels excludes."""
    equal = equal_labels(query_labels, gallery_labels)

    def other(block: slice) -> Flags:
        flags: Flags = ~equal(block)
        return flags

    return other


def shared_labels(query_labels: Rows, gallery_labels: Rows) -> Grades:
    """Graded relevance from 0 to A: the number of equal labels, or 0 if the first label, the type, differs.

    A blue shoe is not relevant to a blue shirt.
    """
    _check(query_labels, gallery_labels)

    def grades(block: slice) -> npt.NDArray[np.uint8]:
        mine = query_labels[block]
        total = np.zeros((len(mine), len(gallery_labels)), dtype=np.uint8)
        for column in range(mine.shape[1]):
            known = mine[:, column, None] != UNKNOWN
            total += (mine[:, column, None] == gallery_labels[None, :, column]) & known
        first = (mine[:, 0, None] == gallery_labels[None, :, 0]) & (mine[:, 0, None] != UNKNOWN)
        graded: npt.NDArray[np.uint8] = total * first
        return graded

    return grades


def _codes(query_labels: Rows, gallery_labels: Rows) -> tuple[Rows, Rows]:
    """One number for each combination of labels. Combinations with an unknown label equal nothing on the other side."""
    _check(query_labels, gallery_labels)
    both = np.concatenate([query_labels, gallery_labels])
    codes = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    unknown = (both < 0).any(axis=1)
    count = len(query_labels)
    return np.where(unknown, -1, codes)[:count], np.where(unknown, -2, codes)[count:]


def _check(query_labels: Rows, gallery_labels: Rows) -> None:
    if query_labels.ndim != 2 or gallery_labels.ndim != 2 or query_labels.shape[1] != gallery_labels.shape[1]:
        raise ValueError(f"labels of shapes {query_labels.shape} and {gallery_labels.shape} cannot be compared")
