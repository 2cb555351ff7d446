"""Semi-supervised training on unlabelled images with pseudo-labels.

The model, or its moving average, predicts a label; if it is confident, the strongly augmented image is trained on with
that label (Sohn et al., "FixMatch", NeurIPS 2020). Distribution alignment (Berthelot et al., "ReMixMatch", ICLR 2020)
lowers the weight of classes that are predicted too often.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Final

import numpy as np
import torch

from trainer.data.dataset import UNKNOWN
from trainer.data.loader import Batch, BatchLoader
from trainer.seeds import generator
from trainer.training.checkpoint import Tensors
from trainer.training.model import TrainingModel
from vitrine.errors import ParameterInvalid
from vitrine.recipes import UnlabelledRecipe
from vitrine.types import Rows

_MOMENTUM: Final = 0.99
_LEAST_PROBABILITY: Final = 1e-3
_SEED_OFFSET: Final = 5_000_003  # keeps these random numbers apart from those of the labelled images


class PseudoLabels:
    """Batches of unlabelled images and their pseudo-labels. `loader` augments the images strongly."""

    def __init__(self, loader: BatchLoader, recipe: UnlabelledRecipe, *, batch: int, seed: int) -> None:
        self._loader = loader
        self._recipe = recipe
        self._count = max(1, round(recipe.share * batch))
        self._seed = seed
        self._mean: torch.Tensor | None = None

    def epoch(self, batches: int, epoch: int, *, first: int) -> Generator[Batch | None, None, None]:
        """A batch for each labelled batch from `first` on, or None before the epoch `from_epoch` of the recipe."""
        if epoch + 1 < self._recipe.from_epoch:
            for _ in range(first, batches):
                yield None
            return
        random = generator(self._seed + _SEED_OFFSET, epoch)
        rows = [random.integers(len(self._loader.pixels), size=self._count) for _ in range(batches)]
        yield from self._loader.epoch(rows, epoch + _SEED_OFFSET, first=first)

    def codes(
        self,
        model: TrainingModel,
        rows: Rows,
        *,
        device: torch.device,
        columns: int,
        precision: AbstractContextManager[object],
    ) -> torch.Tensor:
        """(N, columns) int64: the predicted label in column 0 if `model` is confident, and unknown elsewhere.

        Raises ParameterInvalid if no loss scores the label.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(self._loader.pixels[rows])).to(device)
        was_training = model.training
        model.eval()
        with torch.inference_mode(), precision:
            feature, embedding = (output.float() for output in model.embed(pixels))
            scores = model.scores(feature, embedding)
        model.train(was_training)
        if scores is None:
            raise ParameterInvalid("unlabelled pictures need a loss that scores the label, e.g. cosface")
        probabilities = torch.softmax(scores.float(), dim=1).clone()
        mean = probabilities.mean(dim=0)
        self._mean = mean if self._mean is None else self._mean.lerp(mean, 1 - _MOMENTUM)
        aligned = probabilities / self._mean.clamp(min=_LEAST_PROBABILITY) ** self._recipe.balance
        confidence, label = (aligned / aligned.sum(dim=1, keepdim=True)).max(dim=1)
        confident = confidence >= self._recipe.threshold
        codes = torch.full((len(rows), columns), UNKNOWN, dtype=torch.int64, device=device)
        codes[confident, 0] = label[confident]
        return codes

    def state(self) -> Tensors:
        """The tensors for a checkpoint."""
        return {} if self._mean is None else {"mean": self._mean}

    def restore(self, tensors: Tensors, device: torch.device) -> None:
        self._mean = tensors["mean"].to(device) if "mean" in tensors else None
