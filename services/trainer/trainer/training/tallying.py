"""What an epoch's batches come to, counted where they are: asking a GPU for a number makes it wait."""

from __future__ import annotations

import torch

from trainer.training.examples import UNKNOWN
from trainer.training.standing import Standing


class Tally:
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

    def take(self, standing: Standing) -> float:
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
