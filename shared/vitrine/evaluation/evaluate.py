"""Evaluation of queries against a gallery: any number of metrics in one pass over the rankings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from vitrine.evaluation import metrics
from vitrine.evaluation.metrics import Grades
from vitrine.evaluation.ranking import Pairs, Ranking, blocks, check_vectors, ignored_in, products, rank
from vitrine.evaluation.statistics import Interval, bootstrap_interval
from vitrine.types import Flags, Rows, Values, Vectors

# "order": equal scores are ranked in the order of the gallery. "together": they share their gain, as in scikit-learn;
# this affects average precision and nDCG only.
Ties = Literal["order", "together"]

_WITHOUT_K: Final = ("reciprocal_rank", "r_precision")
_NEEDS_K: Final = ("precision", "recall", "share_found", "ndcg")
_KINDS: Final = ("average_precision", *_NEEDS_K, *_WITHOUT_K)
_NAME: Final = re.compile(rf"({'|'.join(_KINDS)})(?:@(\d+))?")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name: `average_precision`, `average_precision@100`, `precision@15`, `recall@1`,
    `share_found@100`, `reciprocal_rank`, `r_precision`, `ndcg@15`.
    """

    kind: str
    k: int | None

    @classmethod
    def named(cls, name: str) -> Self:
        """Raises ValueError if the name is unknown."""
        found = _NAME.fullmatch(name)
        k = int(found[2]) if found and found[2] else None
        if found is None or (found[1] in _NEEDS_K) > (k is not None) or (found[1] in _WITHOUT_K and k is not None):
            raise ValueError(f"there is no measure {name!r}: try average_precision, precision@15, recall@1 or ndcg@15")
        if k == 0:
            raise ValueError(f"{name!r} cannot be computed: k must be at least 1")
        return cls(found[1], k)

    def of(self, ranked: Flags, tie_ends: Rows | None) -> Values:
        """(B,) values of a metric other than ndcg, which needs grades."""
        match self.kind, self.k:
            case "average_precision", k:
                return metrics.average_precision(ranked, k=k, tie_ends=tie_ends)
            case "precision", int(k):
                return metrics.precision(ranked, k)
            case "recall", int(k):
                return metrics.recall(ranked, k)
            case "share_found", int(k):
                return metrics.share_found(ranked, k)
            case "reciprocal_rank", None:
                return metrics.reciprocal_rank(ranked)
            case _:
                return metrics.r_precision(ranked)


@dataclass(frozen=True, slots=True)
class Measured:
    """The values of each query, (Q,) float64 by metric name.

    A query without a relevant gallery row has NaN, and is left out of all means.
    """

    values: Mapping[str, Values]

    def known(self, name: str) -> Values:
        """The values that are not NaN."""
        values = self.values[name]
        return values[~np.isnan(values)]

    @property
    def scored(self) -> int:
        """The number of queries that have a relevant gallery row."""
        return len(self.known(next(iter(self.values))))

    @property
    def left_out(self) -> int:
        return len(next(iter(self.values.values()))) - self.scored

    def mean(self, name: str) -> float:
        """The mean over the scored queries; NaN if there are none."""
        known = self.known(name)
        return float(known.mean()) if len(known) else float("nan")

    def means(self) -> dict[str, float]:
        return {name: self.mean(name) for name in self.values}

    def interval(self, name: str) -> Interval:
        """The 95 % bootstrap interval of the mean."""
        return bootstrap_interval(self.known(name))

    def of_queries(self, chosen: Rows | Flags) -> Measured:
        """The values of the chosen queries."""
        return Measured({name: values[chosen] for name, values in self.values.items()})

    def as_json(self) -> dict[str, Any]:
        """Means with their intervals, and the number of queries."""
        document: dict[str, Any] = {"queries": self.scored, "left_out": self.left_out}
        for name in self.values:
            interval = self.interval(name)
            document[name] = {"mean": self.mean(name), "low": interval.low, "high": interval.high}
        return document


def measure(
    queries: Vectors,
    gallery: Vectors,
    relevant: Pairs,
    names: Sequence[str] = ("average_precision", "precision@15"),
    *,
    own: Rows | None = None,
    ignore: Pairs | None = None,
    grades: Grades | None = None,
    ties: Ties = "order",
    chunk: int | None = None,
) -> Measured:
    """Rank `gallery` (G, D) for every row of `queries` (Q, D), both float32, and compute the metrics `names`.

    `own` (Q,) is the gallery row that is the query itself, or -1; `ignore` are further rows to leave out. ndcg needs
    `grades`. Raises ValueError for shapes that do not match, numbers that are not finite, or an unknown metric.
    """
    check_vectors(queries, gallery, own)
    evaluator = Evaluator(names, len(queries), len(gallery), relevant, own=own, ignore=ignore, grades=grades, ties=ties)
    for block in blocks(len(queries), len(gallery), chunk):
        evaluator.add(block, products(queries[block], gallery))
    return evaluator.measured()


class Evaluator:
    """Computes metrics from scores, block by block, in any order. Arguments as in `measure`.

    The first `shown` gallery rows of each ranking are stored in `first` (Q, shown), padded with -1.
    """

    def __init__(
        self,
        names: Sequence[str],
        queries: int,
        gallery: int,
        relevant: Pairs,
        *,
        own: Rows | None = None,
        ignore: Pairs | None = None,
        grades: Grades | None = None,
        ties: Ties = "order",
        shown: int = 0,
    ) -> None:
        self._metrics = {name: Metric.named(name) for name in names}
        if any(metric.kind == "ndcg" for metric in self._metrics.values()) and grades is None:
            raise ValueError("ndcg needs grades of relevance")
        self._values = {name: np.full(queries, np.nan) for name in names}
        self.first: Rows = np.full((queries, min(shown, gallery)), -1, dtype=np.int64)
        self._gallery = gallery
        self._relevant = relevant
        self._own = own
        self._ignore = ignore
        self._grades = grades
        self._ties = ties

    def add(self, block: slice, scores: Vectors) -> None:
        """Evaluate the queries of `block` by their scores (B, G) float32, which are overwritten."""
        self.add_known(block, scores, *self.known_of(block))

    def known_of(self, block: slice) -> tuple[Flags, Flags | None]:
        """(relevant, ignored) rows of a block of queries, (B, G) each, which do not depend on the scores."""
        return self._relevant(block), ignored_in(block, self._gallery, self._own, self._ignore)

    def add_known(self, block: slice, scores: Vectors, relevant: Flags, ignored: Flags | None) -> None:
        """`add`, with the result of `known_of`. Several threads may add different blocks."""
        ranking = rank(scores, relevant, ignored)
        ranked = ranking.relevant
        self.first[block] = ranking.rows(self.first.shape[1])
        tie_ends = ranking.tie_ends() if self._ties == "together" else None
        for name, metric in self._metrics.items():
            if metric.kind == "ndcg":
                value = self._ndcg(block, ranking, ignored, metric.k or 1, tie_ends)
            else:
                value = metric.of(ranked, tie_ends)
            self._values[name][block] = value

    def measured(self) -> Measured:
        return Measured(self._values)

    def _ndcg(self, block: slice, ranking: Ranking, ignored: Flags | None, k: int, tie_ends: Rows | None) -> Values:
        assert self._grades is not None
        grades = self._grades(block)
        if ignored is not None:
            grades = grades * ~ignored
        histogram = metrics.grade_histogram(grades, int(grades.max(initial=0)))
        depth = grades.shape[1] if tie_ends is not None else min(k, grades.shape[1])
        rows = ranking.rows(depth)
        in_order = np.where(rows >= 0, np.take_along_axis(grades, np.maximum(rows, 0), axis=1), 0).astype(np.uint8)
        return metrics.ndcg(in_order, histogram, k, tie_ends=tie_ends)
