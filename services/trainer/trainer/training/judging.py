"""How good the network is now: its loss and accuracy on the validation part, and how well the part finds its own, every
validation picture being in the gallery but the query itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from trainer.seeds import VALIDATION_QUERIES, generator
from trainer.training.examples import UNKNOWN, Codes, Rows
from trainer.training.pixels import Pixels
from trainer.training.subject import Subject
from vitrine.evaluation import Vectors, equal_labels, measure
from vitrine.evaluation.ranking import unit_rows
from vitrine.recipes import BestBy


@dataclass(frozen=True, slots=True)
class Judgement:
    """`loss` and `accuracy` are None where no term scores classes, the others where no query has anything to find."""

    loss: float | None
    accuracy: float | None
    precision_at_15: float | None
    mean_average_precision: float | None

    def better_than(self, other: Judgement | None, by: BestBy) -> bool:
        if other is None:
            return True
        if by == "loss":
            return (self.loss if self.loss is not None else np.inf) < (other.loss if other.loss is not None else np.inf)
        mine, others = getattr(self, by), getattr(other, by)
        return bool((mine if mine is not None else -np.inf) > (others if others is not None else -np.inf))


def judge(
    subject: Subject,
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
) -> Judgement:
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
    return Judgement(
        loss=sum(losses) / scored if scored else None,
        accuracy=right / scored if scored else None,
        precision_at_15=found.mean("precision@15") if found.scored else None,
        mean_average_precision=found.mean("average_precision") if found.scored else None,
    )
