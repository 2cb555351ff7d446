"""Evaluation of retrieval on arrays: exact rankings of a gallery, metrics, and their confidence intervals."""

from vitrine.evaluation.evaluate import Evaluator, Measured, Metric, measure
from vitrine.evaluation.metrics import Grades, equal_labels, shared_labels, unequal_labels
from vitrine.evaluation.ranking import Pairs, Ranking, rankings, top_k
from vitrine.evaluation.statistics import Comparison, Interval, bootstrap_interval, compare

__all__ = [
    "Comparison",
    "Grades",
    "Interval",
    "Evaluator",
    "Measured",
    "Metric",
    "Pairs",
    "Ranking",
    "bootstrap_interval",
    "compare",
    "equal_labels",
    "measure",
    "rankings",
    "shared_labels",
    "top_k",
    "unequal_labels",
]
