"""The optimiser, and the learning rate over the steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from trainer.training.checkpoint import Tensors
from trainer.training.model import TrainingModel
from vitrine.recipes import OptimRecipe
from vitrine.vision.heads import Embedded

_LAST_SHARE: Final = 1e-3  # of the highest rate, at the end of a schedule
_ONE_CYCLE_FIRST: Final = 0.04


def make_optimizer(subject: TrainingModel, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """Two groups: what was trained before, at `backbone_rate` of the rate, and what is new. Biases and the parameters
    of normalisation do not decay.
    """
    backbone = subject.backbone
    old = backbone.backbone if isinstance(backbone, Embedded) else backbone
    before = {id(parameter) for parameter in old.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in subject.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in before, parameter.dim() > 1), []).append(parameter)
    described = [
        {
            "params": parameters,
            "lr": recipe.learning_rate * (recipe.backbone_rate if is_old else 1.0),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (is_old, decays), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(described, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(described, lr=recipe.learning_rate, fused=True)


def rate_at(recipe: OptimRecipe, steps: int) -> Callable[[int], float]:
    """The share of the highest rate at each of `steps` steps.

    One-cycle is Smith's (2018): a rise from a twenty-fifth and a cosine down; cosine is Loshchilov and Hutter's
    (ICLR 2017), with a linear rise before it.
    """
    rising = max(1, round(recipe.warmup * steps))

    def share(step: int) -> float:
        if recipe.schedule == "constant":
            return min(1.0, (step + 1) / rising) if recipe.warmup else 1.0
        if step < rising:
            first = _ONE_CYCLE_FIRST if recipe.schedule == "one-cycle" else 0.0
            return first + (1 - first) * (step + 1) / rising
        left = (step - rising) / max(1, steps - rising)
        return _LAST_SHARE + (1 - _LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, left)))

    return share


def make_schedule(optimizer: torch.optim.Optimizer, recipe: OptimRecipe, steps: int) -> LambdaLR:
    return LambdaLR(optimizer, rate_at(recipe, steps))


class ExponentialAverage:
    """Of one `trained` subject, which lies where it will be trained. `subject` is a copy of it that has the average.

    torch's own AveragedModel counts the batches of each normalisation one by one, and asks the host every step.
    """

    def __init__(self, trained: TrainingModel, decay: float) -> None:
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
