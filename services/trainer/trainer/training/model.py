"""The module that is trained: backbone, embedding and losses, from pixels to the loss. And what of it is frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from timm.models.inception_v3 import InceptionAux
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from trainer.data.dataset import UNKNOWN
from trainer.training.frozen_maps import Divided
from trainer.training.losses import Classifier, MetricLoss
from trainer.training.street import matching_pairs, partial_label_loss
from vitrine.errors import ParameterInvalid
from vitrine.recipes import TermRecipe
from vitrine.releases import Preprocessing
from vitrine.vision.heads import Embedded
from vitrine.vision.preprocess import Normalise


class LossOutput(NamedTuple):
    """The weighted sum of the losses, a scalar, and the class scores of the label (N, classes) if a loss has them."""

    total: torch.Tensor
    scores: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """The recipe of a loss, and the column of class codes that it uses."""

    recipe: TermRecipe
    column: int


class AuxiliaryClassifier(nn.Module):
    """A second classifier on the output of the module `at` of `backbone`, used in training only.

    Its loss, multiplied by `weight`, gives the early layers a shorter path for gradients (Szegedy et al., "Rethinking
    the Inception Architecture for Computer Vision", CVPR 2016).
    """

    def __init__(self, backbone: nn.Module, *, at: str, channels: int, classes: int, weight: float) -> None:
        super().__init__()
        self.head: nn.Module = InceptionAux(channels, classes)
        self._weight = weight
        self._map: torch.Tensor | None = None
        backbone.get_submodule(at).register_forward_hook(self._keep)

    def loss(self, codes: torch.Tensor) -> torch.Tensor:
        """The weighted cross-entropy of the last batch of the backbone."""
        assert self._map is not None
        logits = self.head(self._map.float())
        self._map = None
        return self._weight * functional.cross_entropy(logits, codes, ignore_index=UNKNOWN)

    def _keep(self, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        if self.training:
            self._map = output


class TrainingModel(nn.Module):
    """A backbone from (N, 3, H, W) to (N, dim), with a module in `losses` for each of `weighted`."""

    def __init__(
        self,
        backbone: nn.Module,
        rules: Preprocessing,
        weighted: Sequence[WeightedLoss],
        losses: Sequence[nn.Module],
        *,
        auxiliary: AuxiliaryClassifier | None = None,
        street_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalise = Normalise(rules)
        self.losses = nn.ModuleList(losses)
        self.auxiliary = auxiliary
        self._weighted = tuple(weighted)
        self._street_weight = street_weight
        # In a tuple, because its modules are the backbone's and must not be stored twice.
        self._divided: tuple[Divided, ...] = ()

    def divide(self, divided: Divided) -> None:
        """Accept maps of the frozen modules of `divided`, which is of this backbone, instead of pixels."""
        self._divided = (divided,)

    def forward(
        self,
        pixels: torch.Tensor,
        codes: torch.Tensor,
        teacher: torch.Tensor | None = None,
        allowed: torch.Tensor | None = None,
    ) -> LossOutput:
        """(N, H, W, 3) uint8, or maps (N, C, h, w) float32, and (N, columns) int64. `teacher` (N, D) are the embeddings
        to distill. `allowed` (S, classes) bool are the sets of classes of the last S images, whose codes are unknown.
        """
        feature, embedding = (output.float() for output in self.embed(pixels))
        # Losses need full precision: their exponentials and small differences get lost in bfloat16.
        with torch.autocast(pixels.device.type, enabled=False):
            return self._loss(feature, embedding, codes, teacher, allowed)

    def embed(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The feature and the embedding of a batch. They are the same if the model has no embedding layer."""
        embedded = self.backbone if isinstance(self.backbone, Embedded) else None
        feature: torch.Tensor
        if self._divided and pixels.dtype != torch.uint8:
            is_map = pixels.dim() == 4  # otherwise features that are pooled already
            maps = pixels.contiguous(memory_format=torch.channels_last) if is_map else pixels
            feature = self._divided[0].trained(maps)
        else:
            batch = self.normalise(pixels)
            feature = self.backbone(batch) if embedded is None else embedded.backbone(batch)
        return feature, feature if embedded is None else embedded.embed(feature)

    def scores(self, feature: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor | None:
        """Class scores of the label (N, classes), from the first loss that has them."""
        for weighted, module in self._label_losses():
            scores = module.logits(self._input(weighted, feature, embedding))
            if scores is not None:
                return scores
        return None

    def classifier(self) -> Classifier | MetricLoss | None:
        """The first loss whose classifier of the label uses the output of the backbone."""
        has_embedding = isinstance(self.backbone, Embedded)
        for weighted, module in self._label_losses():
            if module.stored() and not (has_embedding and weighted.recipe.of == "feature"):
                return module
        return None

    def _loss(
        self,
        feature: torch.Tensor,
        embedding: torch.Tensor,
        codes: torch.Tensor,
        teacher: torch.Tensor | None,
        allowed: torch.Tensor | None,
    ) -> LossOutput:
        values = [
            self._value(weighted, module, self._input(weighted, feature, embedding), codes, teacher, allowed)
            for weighted, module in zip(self._weighted, self.losses, strict=True)
        ]
        total = torch.stack(
            [weighted.recipe.weight * value for weighted, value in zip(self._weighted, values, strict=True)]
        ).sum()
        if self.auxiliary is not None and self.training:
            total = total + self.auxiliary.loss(codes[:, 0])
        return LossOutput(total, self.scores(feature, embedding))

    def _value(
        self,
        weighted: WeightedLoss,
        module: nn.Module,
        features: torch.Tensor,
        codes: torch.Tensor,
        teacher: torch.Tensor | None,
        allowed: torch.Tensor | None,
    ) -> torch.Tensor:
        """One loss. That of the label includes the street garments, whose sets of classes are `allowed`."""
        value: torch.Tensor
        if allowed is None or weighted.column != 0 or not isinstance(module, Classifier | MetricLoss):
            value = module(features, self._target(weighted, codes, teacher))
            return value
        if isinstance(module, MetricLoss) and module.compares_pairs:
            return module.on_pairs(features, codes[:, 0], matching_pairs(codes[:, 0], allowed))
        value = module(features, codes[:, 0])
        scores = module.logits(features[-len(allowed) :])
        return value if scores is None else value + self._street_weight * partial_label_loss(scores, allowed)

    def _label_losses(self) -> Iterator[tuple[WeightedLoss, Classifier | MetricLoss]]:
        for weighted, module in zip(self._weighted, self.losses, strict=True):
            if weighted.column == 0 and isinstance(module, Classifier | MetricLoss):
                yield weighted, module

    @staticmethod
    def _input(weighted: WeightedLoss, feature: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        return feature if weighted.recipe.of == "feature" else embedding

    @staticmethod
    def _target(weighted: WeightedLoss, codes: torch.Tensor, teacher: torch.Tensor | None) -> torch.Tensor:
        if weighted.recipe.kind != "distill":
            return codes[:, weighted.column]
        assert teacher is not None
        return teacher


class Freezing:
    """Freezes the modules `frozen` of a backbone and, if `trainable` is given, all modules but those.

    Names are those of the backbone's modules, such as `layer4` or `blocks.5`. A frozen module is in evaluation mode, so
    its batch normalization statistics stay the same too. Raises ParameterInvalid if a name is unknown.
    """

    def __init__(
        self, backbone: nn.Module, *, trainable: Sequence[str] | None, frozen: Sequence[str], train_norm: bool
    ) -> None:
        modules = dict(backbone.named_modules())
        unknown = [name for name in (*(trainable or ()), *frozen) if name not in modules]
        if unknown:
            raise ParameterInvalid(f"the network has no module {unknown[0]!r} to train or to freeze")
        self._backbone = backbone
        self._trained = None if trainable is None else [modules[name] for name in trainable]
        self._frozen = [modules[name] for name in frozen]
        self._train_norm = train_norm
        if self._trained is not None:
            backbone.requires_grad_(False)
            for module in self._trained:
                module.requires_grad_(True)
        for module in self._frozen:
            module.requires_grad_(False)

    def train_mode(self) -> None:
        """Put trained modules in training mode and frozen ones in evaluation mode."""
        if self._trained is None:
            self._backbone.train()
        else:
            self._backbone.eval()
            for module in self._trained:
                module.train()
        for module in self._frozen:
            module.eval()
        if not self._train_norm:
            for module in self._backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
