"""The exponential moving average of every weight and statistic (Polyak and Juditsky, 1992)."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch

from trainer.training.checkpoint import Tensors
from trainer.training.subject import Subject


class WeightAverage:
    """Of one `trained` subject, which lies where it will be trained. `subject` is a copy of it that has the average.

    torch's own AveragedModel counts the batches of each normalisation one by one, and asks the host every step.
    """

    def __init__(self, trained: Subject, decay: float) -> None:
        self.subject = copy.deepcopy(trained).requires_grad_(False)
        self._averages, self._newest = (_numbers(one.state_dict().values()) for one in (self.subject, trained))
        self._new_share = 1 - decay

    @torch.no_grad()
    def update(self) -> None:
        """Take a step towards what is trained now."""
        torch._foreach_lerp_(self._averages, self._newest, self._new_share)

    def state_dict(self) -> Tensors:
        return self.subject.state_dict()

    def load_state_dict(self, tensors: Tensors) -> None:
        self.subject.load_state_dict(tensors)


def _numbers(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]
