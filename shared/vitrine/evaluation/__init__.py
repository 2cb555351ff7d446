"""How well vectors find what is like them: exact rankings, the field's measures, and how sure they are.

Arrays in, arrays out: queries are ranked against a gallery, whose rows may be ignored query by query.
"""

from vitrine.evaluation.evaluate import Judge, Measured, Metric, measure
from vitrine.evaluation.metrics import Grades, equal_labels, shared_labels, unequal_labels
from vitrine.evaluation.ranking import Pairs, Ranking, rankings, top_k
from vitrine.evaluation.statistics import Comparison, Interval, bootstrap_interval, compare
from vitrine.types import Flags, Rows, Vectors

__all__ = [
    "Comparison",
    "Flags",
    "Grades",
    "Interval",
    "Judge",
    "Measured",
    "Metric",
    "Pairs",
    "Ranking",
    "Rows",
    "Vectors",
    "bootstrap_interval",
    "compare",
    "equal_labels",
    "measure",
    "rankings",
    "shared_labels",
    "top_k",
    "unequal_labels",
]
