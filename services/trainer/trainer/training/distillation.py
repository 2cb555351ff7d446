"""Learning another release's embeddings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trainer.training.pixels import Pixels
from vitrine.vision.network import ReleaseNetwork, Vectors


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


def embed_pixels(network: ReleaseNetwork, pixels: Pixels, rows: np.ndarray, *, raw: bool, batch: int) -> Vectors:
    """The rows of a cache of pixels through a release's network, (N, raw_dim) or (N, dim) float32, on every core."""

    def run(start: int) -> Vectors:
        part = np.ascontiguousarray(pixels[rows[start : start + batch]])
        return network.features(part) if raw else network.vectors(part)

    starts = range(0, len(rows), batch)
    with ThreadPoolExecutor(network.passes_at_once, thread_name_prefix="embed") as pool:
        parts = list(pool.map(run, starts))
    width = network.raw_dim if raw else network.dim
    return np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)
