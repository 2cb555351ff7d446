"""The state of a training run that is not tensors, and the running metrics of an epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import torch

from trainer.data.dataset import UNKNOWN
from trainer.reports.training import EpochRecord
from trainer.training.validation import ValidationMetrics

# Field names in checkpoints of version 1.
_OLD_NAMES: Final = {"pictures": "images", "right": "correct", "seen": "counted", "stale": "epochs_without_gain"}


@dataclass(slots=True)
class TrainState:
    """The position in a run, the sums of the current epoch, and the results so far.

    `images` are those trained on in all epochs. `counted` is the number behind `loss_sum`, and `scored` those with a
    known class and a score, of which `correct` are right.
    """

    epoch: int = 0
    batch: int = 0
    images: int = 0
    epoch_s: float = 0.0
    loss_sum: float = 0.0
    correct: int = 0
    scored: int = 0
    counted: int = 0
    best: ValidationMetrics | None = None
    best_epoch: int | None = None
    epochs_without_gain: int = 0
    history: list[EpochRecord] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> TrainState:
        """Raises TypeError if a field is unknown."""
        fields = {_OLD_NAMES.get(name, name): value for name, value in stored.items()}
        best = fields.pop("best")
        history = [EpochRecord(**one) for one in fields.pop("history")]
        return cls(**fields, best=None if best is None else ValidationMetrics(**best), history=history)


class RunningMetrics:
    """Sums of loss and accuracy on the device, because reading a number from a GPU waits for it."""

    def __init__(self) -> None:
        self._sums: torch.Tensor | None = None
        self._counted = 0

    def update(self, loss: torch.Tensor, scores: torch.Tensor | None, codes: torch.Tensor) -> None:
        """Add a batch: its mean `loss`, a scalar, and its `scores` (N, classes), if any, for `codes` (N,)."""
        count = len(codes)
        sums = torch.zeros(3, dtype=torch.float64, device=loss.device)
        sums[0] = loss * count
        if scores is not None:
            known = codes != UNKNOWN
            sums[1] = ((scores.argmax(dim=1) == codes) & known).sum()
            sums[2] = known.sum()
        self._counted += count
        self._sums = sums if self._sums is None else self._sums + sums

    def flush(self, state: TrainState) -> float:
        """Move the sums to `state`. Returns their loss, which is not finite if that of one batch was not."""
        if self._sums is None:
            return 0.0
        loss, correct, scored = self._sums.tolist()
        state.loss_sum += loss
        state.correct += round(correct)
        state.scored += round(scored)
        state.counted += self._counted
        self._counted, self._sums = 0, None
        return float(loss)
