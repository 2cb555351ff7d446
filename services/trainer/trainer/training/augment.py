"""Pictures changed by chance: cut, turned, moved, put on another background, recoloured, blurred, partly hidden.

The operations are torchvision's v2 kernels. Their amounts are drawn here, from a generator that depends on the seed,
the epoch and the picture, so that several threads may work and a run that is taken up again draws the same. One draw
serves a group of pictures: a single one on a CPU, a few on a GPU, where a call for each would cost more than it gives.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from trainer.training.cutouts import Backgrounds
from trainer.training.pixels import Pixels
from vitrine.recipes import AugmentRecipe, Range

_BILINEAR = InterpolationMode.BILINEAR
_WHITE = 255.0
_BLUR_SIGMA: Range = (0.4, 1.6)


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
        # How many cut-outs of a picture are needed: with whoever wears the garment, and without.
        self.masks = (1 + (recipe.undress > 0)) if recipe.background > 0 else 0
        self._backgrounds = (
            Backgrounds(height_px, width_px, seed=seed, pictures=backgrounds, share=background_share)
            if self.masks
            else None
        )

    def __call__(self, pictures: torch.Tensor, masks: torch.Tensor | None, chance: np.random.Generator) -> torch.Tensor:
        """(N, 3, H, W) uint8 in and out, all N with the same draw; `masks` (N, 1 or 2, H, W) uint8 where backgrounds
        are.
        """
        planes = pictures if masks is None else torch.cat([pictures, masks], dim=1)
        planes = self._moved(planes, chance)
        changed = planes if masks is None else self._on_background(planes, chance)
        changed = self._recoloured(changed, chance)
        return self._damaged(changed, chance)

    def _moved(self, planes: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
        recipe = self._recipe
        height, width = self._size
        if recipe.crop is not None:
            top, left, cut_height, cut_width = self._cut(chance)
            planes = functional.resized_crop(
                planes, top, left, cut_height, cut_width, [height, width], interpolation=_BILINEAR, antialias=True
            )
        if chance.random() < recipe.flip:
            planes = functional.horizontal_flip(planes)
        if recipe.rotate_degrees or recipe.shift or recipe.shrink < 1:
            reach = recipe.shift
            planes = functional.affine(
                planes,
                angle=float(chance.uniform(-recipe.rotate_degrees, recipe.rotate_degrees)),
                translate=[float(chance.uniform(-reach, reach)) * side for side in (width, height)],
                scale=float(chance.uniform(recipe.shrink, 1.0)),
                shear=[0.0, 0.0],
                interpolation=_BILINEAR,
                fill=self._fill(planes),
            )
        if recipe.perspective and chance.random() < 0.5:
            planes = self._tilted(planes, chance)
        return planes

    def _cut(self, chance: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height and width of what is kept: a share of the area, near the input's form."""
        height, width = self._size
        low, high = self._recipe.crop or (1.0, 1.0)
        area = chance.uniform(low, high)
        form = math.exp(chance.uniform(*np.log(self._recipe.crop_ratio)))
        cut_height = min(height, max(1, round(height * math.sqrt(area / form))))
        cut_width = min(width, max(1, round(width * math.sqrt(area * form))))
        top = int(chance.integers(height - cut_height + 1))
        left = int(chance.integers(width - cut_width + 1))
        return top, left, cut_height, cut_width

    def _tilted(self, planes: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
        height, width = self._size
        corners = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        reach = np.array([width, height]) / 2 * self._recipe.perspective
        moved = (np.array(corners) + chance.uniform(-reach, reach, (4, 2))).round().astype(int).tolist()
        tilted: torch.Tensor = functional.perspective(
            planes, corners, moved, interpolation=_BILINEAR, fill=self._fill(planes)
        )
        return tilted

    @staticmethod
    def _fill(planes: torch.Tensor) -> list[float]:
        return [_WHITE, _WHITE, _WHITE, 0.0, 0.0][: planes.shape[1]]

    def _on_background(self, planes: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
        pictures, masks = planes[:, :3], planes[:, 3:4]
        if self._backgrounds is None or chance.random() >= self._recipe.background:
            return pictures
        if self._recipe.undress and chance.random() < self._recipe.undress:
            masks = planes[:, 4:]
        drawn = torch.from_numpy(np.ascontiguousarray(self._backgrounds.draw(chance).transpose(2, 0, 1)))
        share = masks.float() / 255.0
        mixed = pictures.float() * share + drawn.to(pictures.device).float() * (1.0 - share)
        return mixed.to(torch.uint8)

    def _recoloured(self, pictures: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
        recipe = self._recipe
        if recipe.brightness:
            pictures = functional.adjust_brightness(pictures, _around(1.0, recipe.brightness, chance))
        if recipe.contrast:
            pictures = functional.adjust_contrast(pictures, _around(1.0, recipe.contrast, chance))
        if recipe.saturation:
            pictures = functional.adjust_saturation(pictures, _around(1.0, recipe.saturation, chance))
        if recipe.hue:
            pictures = functional.adjust_hue(pictures, _around(0.0, recipe.hue, chance))
        if recipe.tint:
            gains = torch.from_numpy(chance.uniform(1 - recipe.tint, 1 + recipe.tint, (1, 3, 1, 1)))
            tinted = pictures.float() * gains.to(pictures.device, torch.float32)
            pictures = tinted.clamp(0, 255).to(torch.uint8)
        if chance.random() < recipe.grey:
            pictures = functional.rgb_to_grayscale(pictures, num_output_channels=3)
        return pictures

    def _damaged(self, pictures: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
        recipe = self._recipe
        if chance.random() < recipe.blur:
            pictures = functional.gaussian_blur(pictures, [5, 5], [float(chance.uniform(*_BLUR_SIGMA))])
        if recipe.noise and chance.random() < 0.5:
            grain = torch.from_numpy(chance.standard_normal(pictures.shape[1:], dtype=np.float32))
            strength = 255.0 * float(chance.uniform(0, recipe.noise))
            noisy = pictures.float() + grain.to(pictures.device) * strength
            pictures = noisy.clamp(0, 255).to(torch.uint8)
        if chance.random() < recipe.erase:
            pictures = self._hidden(pictures, chance)
        return pictures

    def _hidden(self, pictures: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
        height, width = self._size
        area = height * width * chance.uniform(*self._recipe.erase_area)
        form = math.exp(chance.uniform(math.log(0.3), math.log(3.3)))
        box_height = min(height, max(1, round(math.sqrt(area * form))))
        box_width = min(width, max(1, round(math.sqrt(area / form))))
        top = int(chance.integers(height - box_height + 1))
        left = int(chance.integers(width - box_width + 1))
        colour = torch.from_numpy(chance.integers(0, 256, (3, 1, 1), dtype=np.uint8))
        hidden: torch.Tensor = functional.erase(pictures, top, left, box_height, box_width, colour.to(pictures.device))
        return hidden


def _around(middle: float, reach: float, chance: np.random.Generator) -> float:
    return float(chance.uniform(middle - reach, middle + reach))
