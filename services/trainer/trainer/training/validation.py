"""Validation metrics during training, and test metrics of the trained release.

In validation the gallery is the validation part without the query. The test part, which no choice is made on, is
searched twice: with all products as the gallery, as in the reference protocol, and on its own ("unseen").
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from trainer.data.dataset import UNKNOWN
from trainer.seeds import EVALUATION_QUERIES, VALIDATION_QUERIES, generator
from trainer.training.model import TrainingModel
from vitrine.evaluation import Measured, equal_labels, measure, top_k
from vitrine.evaluation.ranking import unit_rows
from vitrine.recipes import BestBy
from vitrine.types import Codes, Flags, Pixels, Rows, Values, Vectors

_METRICS: Final = ("average_precision", "precision@15", "recall@1", "recall@10", "recall@20")
_MATCHES: Final = 8


@dataclass(frozen=True, slots=True)
class ValidationMetrics:
    """`loss` and `accuracy` are None if no loss scores classes, the others if no query has a relevant result."""

    loss: float | None
    accuracy: float | None
    precision_at_15: float | None
    mean_average_precision: float | None

    def better_than(self, other: ValidationMetrics | None, by: BestBy) -> bool:
        """Compare by one metric. None is worse than any value."""
        if other is None:
            return True
        mine, others = getattr(self, by), getattr(other, by)
        if by == "loss":
            return bool((np.inf if mine is None else mine) < (np.inf if others is None else others))
        return bool((-np.inf if mine is None else mine) > (-np.inf if others is None else others))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Test metrics by name, and for Q queries: their rows, average precision, precision at 15, and first matches (Q, 8)
    with whether each is relevant.
    """

    metrics: dict[str, float]
    queries: Rows
    average_precision: Values
    precision_at_k: Values
    matches: Rows
    relevant: Flags


def validate(
    model: TrainingModel,
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
    """Evaluate `model` on `rows`. `codes` (N, columns) and `relevance` (N, A) are those of the whole dataset.

    `step` is called before each batch and may raise to stop. The model is left in evaluation mode.
    """
    embeddings, losses, correct, scored = [], [], 0, 0
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            step()
            part = rows[start : start + batch]
            images = torch.from_numpy(np.ascontiguousarray(pixels[part])).to(device)
            with precision():
                feature, embedding = model.embed(images)
                scores = model.scores(feature, embedding)
            embeddings.append(embedding.float().cpu().numpy())
            target = torch.from_numpy(codes[part, 0]).to(device)
            known = target != UNKNOWN
            if scores is not None and bool(known.any()):
                value = torch.nn.functional.cross_entropy(scores.float()[known], target[known], reduction="sum")
                losses.append(float(value))
                correct += int((scores.argmax(dim=1)[known] == target[known]).sum())
                scored += int(known.sum())
    vectors: Vectors = unit_rows(np.concatenate(embeddings))
    chosen = generator(VALIDATION_QUERIES).permutation(len(rows))[:queries]
    labels = relevance[rows]
    found = measure(vectors[chosen], vectors, equal_labels(labels[chosen], labels), own=chosen)
    return ValidationMetrics(
        loss=sum(losses) / scored if scored else None,
        accuracy=correct / scored if scored else None,
        precision_at_15=found.mean("precision@15") if found.scored else None,
        mean_average_precision=found.mean("average_precision") if found.scored else None,
    )


def evaluate(vectors: Vectors, relevance: Codes, test: Rows, *, queries: int) -> Evaluation:
    """Test metrics. `vectors` (N, dim), of length 1, and `relevance` (N, A) are those of the whole dataset."""
    chosen = generator(EVALUATION_QUERIES).permutation(test)[:queries]
    relevant = equal_labels(relevance[chosen], relevance)
    full = measure(vectors[chosen], vectors, relevant, _METRICS, own=chosen)
    own = np.arange(len(test), dtype=np.int64)
    relevant_in_test = equal_labels(relevance[test], relevance[test])
    unseen = measure(vectors[test], vectors[test], relevant_in_test, _METRICS, own=own)
    matches, _ = top_k(vectors[chosen], vectors, _MATCHES, chosen)
    hits = np.stack([relevant(slice(row, row + 1))[0, matches[row]] for row in range(len(chosen))]) & (matches >= 0)
    return Evaluation(
        metrics={**_named("test", full), **_named("unseen", unseen)},
        queries=chosen,
        average_precision=full.values["average_precision"],
        precision_at_k=full.values["precision@15"],
        matches=matches,
        relevant=hits,
    )


def _named(prefix: str, found: Measured) -> dict[str, float]:
    """Finite means as `PREFIX_mean_average_precision`, `PREFIX_recall_at_1` and so on, rounded to 4 digits."""
    means = {name.replace("average_precision", "mean_average_precision"): mean for name, mean in found.means().items()}
    named = {f"{prefix}_{name.replace('@', '_at_')}": mean for name, mean in means.items()}
    return {name: round(value, 4) for name, value in named.items() if np.isfinite(value)}
