"""What is trained: a backbone with its embedding, and the terms of the loss with whatever weights of their own they
have. Its forward pass goes from pixels to the loss, so that it can be wrapped for several devices as one module.
"""

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
from trainer.training.losses import Classifier, MetricLoss
from vitrine.errors import ParameterInvalid
from vitrine.recipes import TermRecipe
from vitrine.releases import Preprocessing
from vitrine.vision.heads import Embedded
from vitrine.vision.preprocess import Normalise


class Loss(NamedTuple):
    """The weighted sum, each term's own value, and (N, classes) scores of the label where a term gives them."""

    total: torch.Tensor
    terms: torch.Tensor
    scores: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """A term's recipe and the number of its column of codes."""

    recipe: TermRecipe
    column: int


class TrainingModel(nn.Module):
    """`backbone` maps (N, 3, H, W) to (N, dim). `terms` and `modules` belong together, one of each."""

    def __init__(
        self,
        backbone: nn.Module,
        rules: Preprocessing,
        terms: Sequence[WeightedLoss],
        modules: Sequence[nn.Module],
        *,
        auxiliary: AuxiliaryClassifier | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalise = Normalise(rules)
        self.terms = nn.ModuleList(modules)
        self.auxiliary = auxiliary
        self._weighted = tuple(terms)

    def forward(self, pixels: torch.Tensor, codes: torch.Tensor, teacher: torch.Tensor | None = None) -> Loss:
        """(N, H, W, 3) uint8 and (N, columns) int64 in; `teacher` (N, D) are the embeddings to be learned, if any."""
        feature, embedding = (seen.float() for seen in self.see(pixels))
        # The loss is computed in full precision: its exponentials and small differences do not survive half.
        with torch.autocast(pixels.device.type, enabled=False):
            return self._loss(feature, embedding, codes, teacher)

    def _loss(
        self, feature: torch.Tensor, embedding: torch.Tensor, codes: torch.Tensor, teacher: torch.Tensor | None
    ) -> Loss:
        values = [
            module(self._seen(weighted, feature, embedding), self._target(weighted, codes, teacher))
            for weighted, module in zip(self._weighted, self.terms, strict=True)
        ]
        total = torch.stack(
            [one.recipe.weight * value for one, value in zip(self._weighted, values, strict=True)]
        ).sum()
        if self.auxiliary is not None and self.training:
            total = total + self.auxiliary.loss(codes[:, 0])
        return Loss(total, torch.stack([value.detach().float() for value in values]), self.scores(feature, embedding))

    def scores(self, feature: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor | None:
        """(N, classes) scores of the label by the first term that gives them."""
        for weighted, module in self._of_label():
            found = module.logits(self._seen(weighted, feature, embedding))
            if found is not None:
                return found
        return None

    def classifier(self) -> Classifier | MetricLoss | None:
        """The term that scores the label by what the backbone gives, if there is one."""
        has_embedding = isinstance(self.backbone, Embedded)
        for weighted, module in self._of_label():
            if module.stored() and not (has_embedding and weighted.recipe.of == "feature"):
                return module
        return None

    def _of_label(self) -> Iterator[tuple[WeightedLoss, Classifier | MetricLoss]]:
        for weighted, module in zip(self._weighted, self.terms, strict=True):
            if weighted.column == 0 and isinstance(module, Classifier | MetricLoss):
                yield weighted, module

    @staticmethod
    def _seen(weighted: WeightedLoss, feature: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        return feature if weighted.recipe.of == "feature" else embedding

    @staticmethod
    def _target(weighted: WeightedLoss, codes: torch.Tensor, teacher: torch.Tensor | None) -> torch.Tensor:
        if weighted.recipe.kind != "distill":
            return codes[:, weighted.column]
        assert teacher is not None
        return teacher

    def see(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The feature and the embedding of a batch; without an embedding they are the same."""
        batch = self.normalise(pixels)
        if isinstance(self.backbone, Embedded):
            feature = self.backbone.backbone(batch)
            return feature, self.backbone.embed(feature)
        feature = self.backbone(batch)
        return feature, feature


class AuxiliaryClassifier(nn.Module):
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


class Freezing:
    """The rule for one backbone: with `trainable` given all else is frozen, and `frozen` is so in any case.

    Names are those of the backbone's modules, e.g. `layer4` or `blocks.5`. Raises ParameterInvalid for a name that is
    none.
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
        """Put what is trained into training mode and what is frozen into evaluation mode."""
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
