"""How good the network is now: its loss and accuracy on the validation part, and how well the part finds its own, every
validation picture being in the gallery but the query itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.dataset import UNKNOWN
from trainer.seeds import EVALUATION_QUERIES, VALIDATION_QUERIES, generator
from trainer.training.model import TrainingModel
from vitrine.evaluation import Measured, Vectors, equal_labels, measure, top_k
from vitrine.evaluation.ranking import unit_rows
from vitrine.recipes import BestBy
from vitrine.types import Codes, Pixels, Rows


@dataclass(frozen=True, slots=True)
class ValidationMetrics:
    """`loss` and `accuracy` are None where no term scores classes, the others where no query has anything to find."""

    loss: float | None
    accuracy: float | None
    precision_at_15: float | None
    mean_average_precision: float | None

    def better_than(self, other: ValidationMetrics | None, by: BestBy) -> bool:
        if other is None:
            return True
        if by == "loss":
            return (self.loss if self.loss is not None else np.inf) < (other.loss if other.loss is not None else np.inf)
        mine, others = getattr(self, by), getattr(other, by)
        return bool((mine if mine is not None else -np.inf) > (others if others is not None else -np.inf))


def validate(
    subject: TrainingModel,
    pixels: Pixels,
    rows: Rows,
    codes: Codes,
    relevance: Codes,
    *,
    device: torch.device,
    batch: int,
    queries: int,
    precision: Callable[[], AbstractContextManager[object]],
    step: Callable[[], None],
) -> ValidationMetrics:
    """Look at the examples in `rows`. `codes` (N, columns) are the classes of the terms and `relevance` (N, A) those of
    retrieval, of all examples; `step` is called between batches and may raise.
    """
    embeddings, losses, right, scored = [], [], 0, 0
    subject.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            step()
            part = rows[start : start + batch]
            images = torch.from_numpy(np.ascontiguousarray(pixels[part])).to(device)
            with precision():
                feature, embedding = subject.see(images)
                scores = subject.scores(feature, embedding)
            embeddings.append(embedding.float().cpu().numpy())
            target = torch.from_numpy(codes[part, 0]).to(device)
            known = target != UNKNOWN
            if scores is not None and bool(known.any()):
                value = torch.nn.functional.cross_entropy(scores.float()[known], target[known], reduction="sum")
                losses.append(float(value))
                right += int((scores.argmax(dim=1)[known] == target[known]).sum())
                scored += int(known.sum())
    vectors: Vectors = unit_rows(np.concatenate(embeddings))
    chosen = generator(VALIDATION_QUERIES).permutation(len(rows))[:queries]
    labels = relevance[rows]
    found = measure(vectors[chosen], vectors, equal_labels(labels[chosen], labels), own=chosen)
    return ValidationMetrics(
        loss=sum(losses) / scored if scored else None,
        accuracy=right / scored if scored else None,
        precision_at_15=found.mean("precision@15") if found.scored else None,
        mean_average_precision=found.mean("average_precision") if found.scored else None,
    )


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
