"""Pictures changed by chance: cut, turned, moved, put on another background, recoloured, blurred, partly hidden.

A whole batch is changed at once, each picture by its own draw. The amounts are drawn from a generator that depends on
the seed, the epoch and the batch, so that a run that is taken up again draws the same on every device.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import functional

from trainer.training.cutouts import Backgrounds
from trainer.training.pixels import Pixels
from trainer.training.recolouring import recoloured, recolours_anything
from trainer.training.warping import draw_moves, moved, moves_anything
from vitrine.recipes import AugmentRecipe, Range

_WHITE = 255.0
_BLUR_SIGMA: Range = (0.4, 1.6)
_BOX_FORM: Range = (0.3, 3.3)


def masks_needed(recipe: AugmentRecipe) -> int:
    """How many cut-outs of a picture: one with whoever wears the garment, and one without, or none."""
    return (1 + (recipe.undress > 0)) if recipe.background > 0 else 0


class Augmenter:
    """What a recipe's `augment` asks for, for pictures of one size; a `background_share` of the backgrounds are pieces
    of the pictures `backgrounds`. Any number of threads may share it.
    """

    def __init__(
        self,
        recipe: AugmentRecipe,
        height_px: int,
        width_px: int,
        *,
        seed: int,
        backgrounds: Pixels | None = None,
        background_share: float = 0.0,
    ) -> None:
        self._recipe = recipe
        self._size = (height_px, width_px)
        self.masks = masks_needed(recipe)
        self._backgrounds = (
            Backgrounds(height_px, width_px, seed=seed, pictures=backgrounds, share=background_share)
            if self.masks
            else None
        )

    def __call__(self, pictures: torch.Tensor, masks: torch.Tensor | None, chance: np.random.Generator) -> torch.Tensor:
        """(N, 3, H, W) uint8 in and out; `masks` (N, 1 or 2, H, W) uint8 where backgrounds are replaced."""
        recipe = self._recipe
        # What a picture lacks of white and what a mask has: 0 beyond the frame is white there, and no garment.
        planes = _WHITE - pictures.float()
        replaced = np.flatnonzero(chance.random(len(pictures)) < recipe.background)
        if masks is not None:
            planes = self._cut_out(planes, masks.float() / _WHITE, replaced, chance)
        if moves_anything(recipe):
            planes = moved(planes, draw_moves(recipe, *self._size, len(planes), chance))
        if self._backgrounds is not None and masks is not None and len(replaced):
            self._put_on(planes, replaced, self._backgrounds, chance)
        changed = _WHITE - planes[:, :3]
        if recolours_anything(recipe):
            changed = recoloured(changed, recipe, chance)
        self._damage(changed, chance)
        return changed.clamp_(0, _WHITE).round_().to(torch.uint8)

    def _cut_out(
        self, lacking: torch.Tensor, masks: torch.Tensor, replaced: npt.NDArray[np.int64], chance: np.random.Generator
    ) -> torch.Tensor:
        """(N, 4, H, W): the pictures with the mask that is used, some of those `replaced` without their wearer."""
        used = masks[:, :1]
        if masks.shape[1] > 1:
            undressed = replaced[chance.random(len(replaced)) < self._recipe.undress]
            rows = torch.from_numpy(undressed).to(masks.device)
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
        drawn = torch.from_numpy(np.stack([backgrounds.draw(chance) for _ in replaced])).to(planes.device)
        behind = _WHITE - drawn.permute(0, 3, 1, 2).float()
        rows = torch.from_numpy(replaced).to(planes.device)
        planes[rows, :3] += behind * (1 - planes[rows, 3:])

    def _damage(self, pictures: torch.Tensor, chance: np.random.Generator) -> None:
        """Blur, grain and a rectangle in front of it, for some of the `pictures` (N, 3, H, W) float32."""
        recipe, count = self._recipe, len(pictures)
        for row in np.flatnonzero(chance.random(count) < recipe.blur):
            sigma = float(chance.uniform(*_BLUR_SIGMA))
            pictures[row] = functional.gaussian_blur(pictures[row], [5, 5], [sigma])
        if recipe.noise:
            for row in np.flatnonzero(chance.random(count) < 0.5):
                grain = torch.from_numpy(chance.standard_normal(pictures.shape[1:], dtype=np.float32))
                pictures[row] += grain.to(pictures.device) * (_WHITE * float(chance.uniform(0, recipe.noise)))
        for row in np.flatnonzero(chance.random(count) < recipe.erase):
            self._hide(pictures[row], chance)

    def _hide(self, picture: torch.Tensor, chance: np.random.Generator) -> None:
        height, width = self._size
        area = height * width * chance.uniform(*self._recipe.erase_area)
        form = math.exp(chance.uniform(math.log(_BOX_FORM[0]), math.log(_BOX_FORM[1])))
        box_height = min(height, max(1, round(math.sqrt(area * form))))
        box_width = min(width, max(1, round(math.sqrt(area / form))))
        top = int(chance.integers(height - box_height + 1))
        left = int(chance.integers(width - box_width + 1))
        colour = torch.from_numpy(chance.integers(0, 256, (3, 1, 1)).astype(np.float32))
        picture[:, top : top + box_height, left : left + box_width] = colour.to(picture.device)
