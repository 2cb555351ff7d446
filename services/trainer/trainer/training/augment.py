"""Pictures changed by chance: cut, turned, moved, put on another background, recoloured, blurred, partly hidden.

A whole batch is changed at once, each picture by its own draw. The amounts are drawn from a generator that depends on
the seed, the epoch and the batch, so that a run that is taken up again draws the same on every device.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from trainer.training.backgrounds import Backgrounds
from trainer.training.damaging import damaged
from trainer.training.pixels import Pixels
from trainer.training.recolouring import recoloured, recolours_anything
from trainer.training.sending import sent
from trainer.training.warping import draw_moves, garment_frames, moved, moves_anything
from vitrine.recipes import AugmentRecipe

_WHITE = 255.0
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
            if self.masks
            else None
        )

    def __call__(self, pictures: torch.Tensor, masks: torch.Tensor | None, chance: np.random.Generator) -> torch.Tensor:
        """(N, 3, H, W) uint8 in and out; `masks` (N, 1 or 2, H, W) uint8 where garments are cut out."""
        recipe, count = self._recipe, len(pictures)
        # What a picture lacks of white and what a mask has: 0 beyond the frame is white there, and no garment.
        planes = _WHITE - pictures.float()
        replaced = chance.random(count) < recipe.background
        frames = None
        if masks is not None:
            alone = chance.random(count) < recipe.alone
            replaced &= ~alone
            bare = alone | (replaced & (chance.random(count) < recipe.undress))
            planes = self._cut_out(planes, masks.float() / _WHITE, np.flatnonzero(bare))
            if alone.any():
                frames = garment_frames(planes[:, 3], sent(alone, planes.device))
        if frames is not None or moves_anything(recipe):
            planes = moved(planes, draw_moves(recipe, *self._size, count, chance), frames)
        if self._backgrounds is not None and masks is not None and replaced.any():
            self._put_on(planes, np.flatnonzero(replaced), self._backgrounds, chance)
        changed = _WHITE - planes[:, :3]
        if recolours_anything(recipe):
            changed = recoloured(changed, recipe, chance)
        damaged(changed, recipe, chance)
        return changed.clamp_(0, _WHITE).round_().to(torch.uint8)

    @staticmethod
    def _cut_out(lacking: torch.Tensor, masks: torch.Tensor, bare: npt.NDArray[np.int64]) -> torch.Tensor:
        """(N, 4, H, W): the pictures with the mask that is used, those at `bare` without their wearer."""
        used = masks[:, :1]
        if len(bare):
            rows = sent(bare, masks.device)
            lacking[rows] *= masks[rows, 1:] / masks[rows, :1].clamp(min=1 / _WHITE)
            used = used.clone()
            used[rows] = masks[rows, 1:]
        return torch.cat([lacking, used], dim=1)

    @staticmethod
    def _put_on(
        planes: torch.Tensor, replaced: npt.NDArray[np.int64], backgrounds: Backgrounds, chance: np.random.Generator
    ) -> None:
        """Fill what the mask leaves of the pictures `replaced`. Of a pixel that is half garment, half white, the
        garment's half is all that it lacks of white.
        """
        behind = _WHITE - backgrounds.draw(len(replaced), chance).permute(0, 3, 1, 2).float()
        rows = sent(replaced, planes.device)
        planes[rows, :3] += behind * (1 - planes[rows, 3:])
