"""The optimizer and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from vitrine.recipes import OptimRecipe
from vitrine.vision.heads import Embedded

_FINAL_SHARE: Final = 1e-3  # of the highest rate, at the end of a schedule
_ONE_CYCLE_START: Final = 0.04  # of the highest rate


class HasBackbone(Protocol):
    """A network whose `backbone` is pretrained."""

    @property
    def backbone(self) -> nn.Module: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def make_optimizer(model: HasBackbone, recipe: OptimRecipe) -> torch.optim.Optimizer:
    """SGD or AdamW. Pretrained parameters learn at `backbone_rate` of the rate. Biases and the parameters of
    normalization have no weight decay.
    """
    backbone = model.backbone
    pretrained = backbone.backbone if isinstance(backbone, Embedded) else backbone
    pretrained_ids = {id(parameter) for parameter in pretrained.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in pretrained_ids, parameter.dim() > 1), []).append(parameter)
    described = [
        {
            "params": parameters,
            "lr": recipe.learning_rate * (recipe.backbone_rate if is_pretrained else 1.0),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (is_pretrained, decays), parameters in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(described, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(described, lr=recipe.learning_rate, fused=True)


def rate_at(recipe: OptimRecipe, steps: int) -> Callable[[int], float]:
    """The share of the highest learning rate at each of `steps` steps.

    "one-cycle" rises from 1/25 and falls as a cosine (Smith, 2018); "cosine" is Loshchilov and Hutter's (ICLR 2017)
    with a linear warmup. A closed form, unlike a chain of torch's schedulers, gives the same rates after a resume.
    """
    warmup_steps = max(1, round(recipe.warmup * steps))

    def share(step: int) -> float:
        if recipe.schedule == "constant":
            return min(1.0, (step + 1) / warmup_steps) if recipe.warmup else 1.0
        if step < warmup_steps:
            first = _ONE_CYCLE_START if recipe.schedule == "one-cycle" else 0.0
            return first + (1 - first) * (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        return _FINAL_SHARE + (1 - _FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return share


def make_schedule(optimizer: torch.optim.Optimizer, recipe: OptimRecipe, steps: int) -> LambdaLR:
    return LambdaLR(optimizer, rate_at(recipe, steps))


def schedule_state(schedule: LambdaLR) -> dict[str, Any]:
    """The state of a schedule without its function, which the recipe determines."""
    state = {name: value for name, value in schedule.state_dict().items() if name != "lr_lambdas"}
    return {**state, "lr_lambdas": [None] * len(schedule.lr_lambdas)}
