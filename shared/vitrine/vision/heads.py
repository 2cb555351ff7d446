"""Optional heads of a backbone: GeM pooling and a learned embedding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from vitrine.errors import ParameterInvalid

Pooling = Literal["gem"]
_LEAST = 1e-6


class GeM(nn.Module):
    """Generalised mean pooling with a learned exponent: (N, C, H, W) in, (N, C) out.

    Exponent 1 is the mean, infinity the maximum. Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human
    Annotation", TPAMI 2018.
    """

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        powers = maps.float().clamp(min=_LEAST).pow(self.exponent)
        return powers.mean(dim=(2, 3)).pow(1.0 / self.exponent)


class Embedded(nn.Module):
    """A backbone and a linear embedding of its feature: (N, 3, H, W) in, (N, embedding) out, not normalised."""

    def __init__(self, backbone: nn.Module, raw_dim: int, embedding: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding = nn.Linear(raw_dim, embedding, bias=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.embed(self.backbone(pixels))

    def embed(self, feature: torch.Tensor) -> torch.Tensor:
        """(N, raw_dim) in, (N, embedding) float32 out."""
        # In full precision: a sum of a thousand products, half of which cancel out, loses too much in half precision.
        with torch.autocast(feature.device.type, enabled=False):
            return functional.linear(feature.float(), self.embedding.weight.float())


def extend(network: nn.Module, *, raw_dim: int, pooling: Pooling | None, embedding: int | None) -> nn.Module:
    """Add a pooling and an embedding, with torch's initial weights, to a backbone of `raw_dim` components.

    Raises ParameterInvalid if the network's pooling cannot be replaced.
    """
    if pooling == "gem":
        if not isinstance(getattr(network, "global_pool", None), nn.Module):
            raise ParameterInvalid("the pooling of this network cannot be replaced: leave 'pooling' out")
        network.global_pool = GeM()
    return network if embedding is None else Embedded(network, raw_dim, embedding)
