"""Learning another release's embeddings."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Imitation(nn.Module):
    """One less the cosine between what the student sees, mapped linearly to the teacher's components, and the teacher's
    embedding. The map is the student's only help and is not kept.
    """

    def __init__(self, dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, teacher_dim, bias=False)

    def forward(self, features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """(N, dim) and (N, teacher_dim) in, a scalar of 0..2 out."""
        mapped = functional.linear(features.float(), self.map.weight)
        return (1.0 - functional.cosine_similarity(mapped, teacher.float(), dim=1)).mean()
