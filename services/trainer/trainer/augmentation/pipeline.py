"""Pictures changed by chance: cut, turned, warp, put on another background, apply_color, blurred, partly hidden.

Each picture of a batch has its own draw. The amounts are drawn from a generator that depends on
the seed, the epoch and the batch, so that a run that is taken up again draws the same on every device.
"""

from __future__ import annotations

import numpy as np
import torch

from trainer.augmentation.background import Backgrounds
from trainer.augmentation.cpu import augment_pictures
from trainer.augmentation.device import augment_batch
from trainer.augmentation.plan import draw_plan
from vitrine.recipes import AugmentRecipe
from vitrine.types import Pixels

_CPU = torch.device("cpu")


def masks_needed(recipe: AugmentRecipe) -> int:
    """How many cut-outs of a picture: one with whoever wears the garment, and one without, or none."""
    if recipe.undress or recipe.alone:
        return 2
    return 1 if recipe.background else 0


class Augmenter:
    """What a recipe's `augment` asks for, for pictures of one size on one device; a `background_share` of the
    backgrounds are pieces of the pictures `backgrounds`. Any number of threads may share it.
    """

    def __init__(
        self,
        recipe: AugmentRecipe,
        height_px: int,
        width_px: int,
        *,
        seed: int,
        device: torch.device = _CPU,
        backgrounds: Pixels | None = None,
        background_share: float = 0.0,
    ) -> None:
        self._recipe = recipe
        self._size = (height_px, width_px)
        self.masks = masks_needed(recipe)
        self._backgrounds = (
            Backgrounds(height_px, width_px, seed=seed, device=device, pictures=backgrounds, share=background_share)
            if recipe.background
            else None
        )

    def __call__(self, pictures: torch.Tensor, masks: torch.Tensor | None, chance: np.random.Generator) -> torch.Tensor:
        """(N, 3, H, W) uint8 in and out; `masks` (N, 1 or 2, H, W) uint8 where garments are cut out."""
        changes = draw_plan(self._recipe, *self._size, len(pictures), chance, self._backgrounds)
        if pictures.device.type != "cpu":
            return augment_batch(pictures, masks, changes, self._backgrounds)
        pixels = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).numpy())
        cut_outs = None if masks is None else masks.numpy()
        return torch.from_numpy(augment_pictures(pixels, cut_outs, changes, self._backgrounds)).permute(0, 3, 1, 2)
