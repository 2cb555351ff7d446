"""Losses of a class map: cross-entropy weighted by class, and the Lovasz-softmax loss, which follows the IoU."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from vitrine.types import Values


def class_weights(shares: Values, balance: float) -> torch.Tensor:
    """The weights (classes,) of classes with these shares of all points: rarity to the power `balance`, mean 1 over the
    points. A class that no point has gets that of the rarest.
    """
    present = torch.from_numpy(shares[shares > 0])
    floor = float(present.min())
    weights = torch.from_numpy(shares).clamp(min=floor) ** -balance
    return (weights / float((torch.from_numpy(shares) * weights).sum())).float()


def lovasz_gradient(sorted_truth: torch.Tensor) -> torch.Tensor:
    """The gradient (N,) of the Jaccard loss's Lovasz extension, for the truth (N,) in order of falling errors.

    Berman, Rannen Triki and Blaschko, CVPR 2018, algorithm 1.
    """
    total = sorted_truth.sum()
    intersection = total - sorted_truth.cumsum(0)
    union = total + (1 - sorted_truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def lovasz_softmax(probabilities: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The mean over the classes that are present: probabilities (N, classes) of points of the classes `truth` (N,)."""
    losses = []
    for kind in torch.unique(truth).tolist():
        wanted = (truth == kind).float()
        errors, order = torch.sort((wanted - probabilities[:, kind]).abs(), descending=True)
        losses.append(torch.dot(errors, lovasz_gradient(wanted[order])))
    return torch.stack(losses).mean()


class ParserLoss(nn.Module):
    """Logits (N, classes, H, W) and classes (N, H, W) in, a scalar out."""

    def __init__(self, weights: torch.Tensor, *, lovasz: float, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)
        self._lovasz = lovasz
        self._smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        points = logits.float().permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
        flat = truth.reshape(-1)
        weights: torch.Tensor = self.weights  # type: ignore[assignment]
        # Divided by the number of points, not by the sum of their weights: a batch without rare classes counts as much.
        loss = functional.cross_entropy(points, flat, weight=weights, label_smoothing=self._smoothing, reduction="sum")
        loss = loss / len(flat)
        if self._lovasz:
            loss = loss + self._lovasz * lovasz_softmax(points.softmax(dim=1), flat)
        return loss
