"""Learning from pictures nobody has labelled: the network's own averaged weights say what a picture shows, and where
they are sure enough the picture, strongly changed, is trained on as if that were its label (Sohn et al., "FixMatch",
NeurIPS 2020). What they say too often counts less (distribution alignment, Berthelot et al., "ReMixMatch", ICLR 2020),
or the commonest classes of the catalogue would swallow the rest. No label of these pictures is ever read.
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

_REMEMBERED: Final = 0.99
_LEAST_SHARE: Final = 1e-3
_OWN_CHANCE: Final = 5_000_003  # keeps the draws of these pictures apart from those of the labelled


class PseudoLabels:
    """The pictures and what is thought of them. `loader` has the pixels of all and changes them strongly."""

    def __init__(self, loader: BatchLoader, recipe: UnlabelledRecipe, *, batch: int, seed: int) -> None:
        self._loader = loader
        self._recipe = recipe
        self._count = max(1, round(recipe.share * batch))
        self._seed = seed
        self._said: torch.Tensor | None = None
        self.accepted = 0
        self.asked = 0

    def epoch(self, batches: int, epoch: int, *, first: int) -> Generator[Batch | None, None, None]:
        """For each batch of the labelled pictures one of these, or None before their first epoch."""
        if epoch + 1 < self._recipe.from_epoch:
            for _ in range(first, batches):
                yield None
            return
        chance = generator(self._seed + _OWN_CHANCE, epoch)
        rows = [chance.integers(len(self._loader.pixels), size=self._count) for _ in range(batches)]
        yield from self._loader.epoch(rows, epoch + _OWN_CHANCE, first=first)

    def codes(
        self,
        validate: TrainingModel,
        rows: Rows,
        *,
        device: torch.device,
        columns: int,
        precision: AbstractContextManager[object],
    ) -> torch.Tensor:
        """(N, columns) int64: the label in the first column where `validate` is sure of it, else unknown.

        Raises ParameterInvalid where no term scores the label.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(self._loader.pixels[rows])).to(device)
        was_training = validate.training
        validate.eval()
        with torch.inference_mode(), precision:
            feature, embedding = (seen.float() for seen in validate.see(pixels))
            scores = validate.scores(feature, embedding)
        validate.train(was_training)
        if scores is None:
            raise ParameterInvalid("unlabelled pictures need a term that scores the label, e.g. cosface")
        said = torch.softmax(scores.float(), dim=1).clone()
        mean = said.mean(dim=0)
        self._said = mean if self._said is None else self._said.lerp(mean, 1 - _REMEMBERED)
        aligned = said / self._said.clamp(min=_LEAST_SHARE) ** self._recipe.balance
        sureness, label = (aligned / aligned.sum(dim=1, keepdim=True)).max(dim=1)
        sure = sureness >= self._recipe.threshold
        self.asked += len(sure)
        self.accepted += int(sure.sum())
        codes = torch.full((len(rows), columns), UNKNOWN, dtype=torch.int64, device=device)
        codes[sure, 0] = label[sure]
        return codes

    def state(self) -> Tensors:
        """What a checkpoint keeps."""
        return {} if self._said is None else {"said": self._said}

    def restore(self, tensors: Tensors, device: torch.device) -> None:
        self._said = tensors["said"].to(device) if "said" in tensors else None
