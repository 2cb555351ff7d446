"""Inception's second classifier, on a map in the middle of the network: it gives the early layers a shorter way to the
loss (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016). It is of no use once training is done.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.inception_v3 import InceptionAux
from torch import nn
from torch.nn import functional

from trainer.training.examples import UNKNOWN


class AuxiliaryHead(nn.Module):
    """A classifier on the output of the module `at` of `backbone`, whose loss counts `weight`."""

    def __init__(self, backbone: nn.Module, *, at: str, channels: int, classes: int, weight: float) -> None:
        super().__init__()
        self.head: nn.Module = InceptionAux(channels, classes)
        self._weight = weight
        self._map: torch.Tensor | None = None
        backbone.get_submodule(at).register_forward_hook(self._keep)

    def loss(self, codes: torch.Tensor) -> torch.Tensor:
        """The weighted cross-entropy of the batch that went through the backbone last."""
        assert self._map is not None
        logits = self.head(self._map.float())
        self._map = None
        return self._weight * functional.cross_entropy(logits, codes, ignore_index=UNKNOWN)

    def _keep(self, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        if self.training:
            self._map = output
