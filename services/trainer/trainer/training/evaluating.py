"""What a trained release is worth on the test part, which nothing was chosen on: as the reference measured it (600
queries against every product), and against the test part alone, as a shop would see it whose products are all new.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.seeds import EVALUATION_QUERIES, generator
from trainer.training.examples import Codes, Rows
from vitrine.evaluation import Measured, Vectors, equal_labels, measure, top_k

_FIGURES = ("average_precision", "precision@15", "recall@1", "recall@10", "recall@20")
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`metrics` by name; of the queries (Q,) their example, average precision and precision at 15, and their first
    matches (Q, 8) with whether each is relevant.
    """

    metrics: dict[str, float]
    queries: Rows
    average_precision: npt.NDArray[np.float64]
    precision_at_k: npt.NDArray[np.float64]
    matches: Rows
    relevant: npt.NDArray[np.bool_]


def evaluate(vectors: Vectors, relevance: Codes, test: Rows, *, queries: int) -> Evaluation:
    """`vectors` (N, dim) float32 of length 1 and `relevance` (N, A) are those of all examples, the gallery."""
    chosen = generator(EVALUATION_QUERIES).permutation(test)[:queries]
    relevant = equal_labels(relevance[chosen], relevance)
    whole = measure(vectors[chosen], vectors, relevant, _FIGURES, own=chosen)
    own = np.arange(len(test), dtype=np.int64)
    among = equal_labels(relevance[test], relevance[test])
    unseen = measure(vectors[test], vectors[test], among, _FIGURES, own=own)
    matches, _ = top_k(vectors[chosen], vectors, _SHOWN, chosen)
    hits = np.stack([relevant(slice(row, row + 1))[0, matches[row]] for row in range(len(chosen))]) & (matches >= 0)
    return Evaluation(
        metrics={**_named("test", whole), **_named("unseen", unseen)},
        queries=chosen,
        average_precision=whole.values["average_precision"],
        precision_at_k=whole.values["precision@15"],
        matches=matches,
        relevant=hits,
    )


def _named(prefix: str, found: Measured) -> dict[str, float]:
    told = {name.replace("average_precision", "mean_average_precision"): mean for name, mean in found.means().items()}
    named = {f"{prefix}_{name.replace('@', '_at_')}": mean for name, mean in told.items()}
    return {name: round(value, 4) for name, value in named.items() if np.isfinite(value)}
