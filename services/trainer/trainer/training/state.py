"""What a loop works on, where it stands, and who is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from trainer.data.dataset import UNKNOWN
from trainer.reports.training import EpochRecord
from trainer.training.validation import ValidationMetrics


@dataclass(slots=True)
class TrainState:
    """Where a run is: what a checkpoint keeps beside tensors."""

    epoch: int = 0
    batch: int = 0
    pictures: int = 0
    epoch_s: float = 0.0
    loss_sum: float = 0.0
    right: int = 0
    scored: int = 0
    seen: int = 0
    best: ValidationMetrics | None = None
    best_epoch: int | None = None
    stale: int = 0
    history: list[EpochRecord] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> TrainState:
        best = stored.pop("best")
        history = [EpochRecord(**one) for one in stored.pop("history")]
        return cls(**stored, best=None if best is None else ValidationMetrics(**best), history=history)


class RunningMetrics:
    """Sums of the batches since it was last `taken`."""

    def __init__(self) -> None:
        self._seen = 0
        self._sums: torch.Tensor | None = None

    def add(self, loss: torch.Tensor, scores: torch.Tensor | None, codes: torch.Tensor) -> None:
        """Count a batch: its mean `loss`, a scalar, and its `scores` (N, classes), if any, for `codes` (N,) int64."""
        count = len(codes)
        sums = torch.zeros(3, dtype=torch.float64, device=loss.device)
        sums[0] = loss * count
        if scores is not None:
            known = codes != UNKNOWN
            sums[1] = ((scores.argmax(dim=1) == codes) & known).sum()
            sums[2] = known.sum()
        self._seen += count
        self._sums = sums if self._sums is None else self._sums + sums

    def take(self, standing: TrainState) -> float:
        """Move the sums into `standing`. Returns their loss, which is no finite number if one of a batch was not."""
        if self._sums is None:
            return 0.0
        loss, right, scored = self._sums.tolist()
        standing.loss_sum += loss
        standing.right += round(right)
        standing.scored += round(scored)
        standing.seen += self._seen
        self._seen, self._sums = 0, None
        return float(loss)
