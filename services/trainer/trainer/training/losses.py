"""The losses of a recipe: classification, metric learning with pytorch-metric-learning, and distillation.

Each is a module that takes features (N, D) and class codes (N,) and returns a scalar. Images with an unknown class are
ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from pytorch_metric_learning import losses, miners
from torch import nn
from torch.nn import functional

from trainer.data.dataset import UNKNOWN
from vitrine.errors import ParameterInvalid
from vitrine.recipes import TermRecipe
from vitrine.vision.classifier import MARGIN_SCALE


class Classifier(nn.Module):
    """A linear classifier with cross-entropy and label smoothing (Szegedy et al., CVPR 2016)."""

    def __init__(self, dim: int, classes: int, *, smoothing: float) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)
        self._smoothing = smoothing

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return functional.linear(features.float(), self.linear.weight, self.linear.bias)

    def stored(self) -> dict[str, torch.Tensor]:
        """The tensors that a release stores: `weight` (classes, dim) and `bias` (classes,)."""
        return {"weight": self.linear.weight.detach(), "bias": self.linear.bias.detach()}

    def initialize_from(self, stored: Mapping[str, torch.Tensor]) -> None:
        """Copy the tensors of a release's classifier into the first classes. Does nothing if the sizes do not match."""
        count, dim = stored["weight"].shape
        if dim != self.linear.in_features or "bias" not in stored:
            return
        with torch.no_grad():
            self.linear.weight[:count] = stored["weight"]
            self.linear.bias[:count] = stored["bias"]

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            self.logits(features), codes, ignore_index=UNKNOWN, label_smoothing=self._smoothing
        )


class MetricLoss(nn.Module):
    """A loss of pytorch-metric-learning, which normalizes the features, with an optional miner."""

    def __init__(self, loss: nn.Module, miner: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    @property
    def compares_pairs(self) -> bool:
        """Whether the loss compares images with each other, not with weights of classes."""
        return self._class_weights() is None

    def on_pairs(self, features: torch.Tensor, codes: torch.Tensor, pairs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The loss on given pairs: anchors and positives, anchors and negatives, each (P,) rows of `features`."""
        if not len(pairs[0]) or not len(pairs[2]):
            return features.sum() * 0.0
        value: torch.Tensor = self.loss(features.float(), codes, pairs)
        return value

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        known = codes != UNKNOWN
        features, codes = features[known].float(), codes[known]
        if len(codes) < 2:
            return features.sum() * 0.0
        mined = () if self.miner is None else (self.miner(features, codes),)
        value: torch.Tensor = self.loss(features, codes, *mined)
        return value

    def logits(self, features: torch.Tensor) -> torch.Tensor | None:
        """Scaled cosines to the class weights, (N, classes), or None if the loss has no weights per class."""
        score: Callable[[torch.Tensor], torch.Tensor] | None = getattr(self.loss, "get_logits", None)
        return None if score is None else score(features.float())

    def stored(self) -> dict[str, torch.Tensor]:
        """The tensors that a release stores: `weight` (classes, dim), if the loss has weights per class."""
        weights = self._class_weights()
        return {} if weights is None else {"weight": weights.detach()}

    def initialize_from(self, stored: Mapping[str, torch.Tensor]) -> None:
        """Copy the class weights of a release into the first classes. Does nothing if the sizes do not match."""
        weights = self._class_weights()
        count, dim = stored["weight"].shape
        if weights is None or dim != weights.shape[1] or "bias" in stored:
            return
        with torch.no_grad():
            weights[:count] = stored["weight"]

    def _class_weights(self) -> torch.Tensor | None:
        """(classes, dim), a view of the loss's parameter."""
        weight: torch.Tensor | None = getattr(self.loss, "W", None)
        proxies: torch.Tensor | None = getattr(self.loss, "proxies", None)
        return proxies if weight is None else weight.t()


class DistillationLoss(nn.Module):
    """1 - cosine similarity between the teacher's embedding and a linear map of the student's features.

    The map is not stored in the release.
    """

    def __init__(self, dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, teacher_dim, bias=False)

    def forward(self, features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """(N, dim) and (N, teacher_dim) in, a scalar in 0..2 out."""
        mapped = functional.linear(features.float(), self.map.weight)
        return (1.0 - functional.cosine_similarity(mapped, teacher.float(), dim=1)).mean()


def make_loss(recipe: TermRecipe, *, dim: int, classes: int) -> nn.Module:
    """The module of a loss, except `distill`. Raises ParameterInvalid if the loss does not have an option."""
    if recipe.kind == "cross_entropy":
        if recipe.options:
            raise ParameterInvalid(f"cross_entropy takes no options, not {sorted(recipe.options)}")
        return Classifier(dim, classes, smoothing=recipe.label_smoothing)
    make = _METRIC_LOSSES.get(recipe.kind)
    if make is None:
        raise ParameterInvalid(f"the loss {recipe.kind!r} is unknown")
    try:
        return make(dim, classes, dict(recipe.options))
    except TypeError as error:
        raise ParameterInvalid(f"the loss {recipe.kind!r} does not take these options: {error}") from error


def _supervised_contrastive(_dim: int, _classes: int, options: dict[str, Any]) -> nn.Module:
    """Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020."""
    return MetricLoss(losses.SupConLoss(**{"temperature": 0.1, **options}))


def _multi_similarity(_dim: int, _classes: int, options: dict[str, Any]) -> nn.Module:
    """Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", CVPR 2019."""
    epsilon = options.pop("epsilon", 0.1)
    return MetricLoss(
        losses.MultiSimilarityLoss(**{"alpha": 2.0, "beta": 50.0, "base": 0.5, **options}),
        miners.MultiSimilarityMiner(epsilon=epsilon),
    )


def _proxy_anchor(dim: int, classes: int, options: dict[str, Any]) -> nn.Module:
    """Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020."""
    return MetricLoss(losses.ProxyAnchorLoss(classes, dim, **{"margin": 0.1, "alpha": 32.0, **options}))


def _arcface(dim: int, classes: int, options: dict[str, Any]) -> nn.Module:
    """Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019. Margin in degrees."""
    return MetricLoss(losses.ArcFaceLoss(classes, dim, **{"margin": 15.0, "scale": MARGIN_SCALE, **options}))


def _cosface(dim: int, classes: int, options: dict[str, Any]) -> nn.Module:
    """Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018."""
    return MetricLoss(losses.CosFaceLoss(classes, dim, **{"margin": 0.2, "scale": MARGIN_SCALE, **options}))


def _triplet(_dim: int, _classes: int, options: dict[str, Any]) -> nn.Module:
    """Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017, with batch-hard mining."""
    return MetricLoss(losses.TripletMarginLoss(**{"margin": 0.2, **options}), miners.BatchHardMiner())


_METRIC_LOSSES: Final[dict[str, Callable[[int, int, dict[str, Any]], nn.Module]]] = {
    "supervised_contrastive": _supervised_contrastive,
    "multi_similarity": _multi_similarity,
    "proxy_anchor": _proxy_anchor,
    "arcface": _arcface,
    "cosface": _cosface,
    "triplet": _triplet,
}
