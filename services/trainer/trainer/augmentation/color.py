"""Pictures apply_color by chance: brightness, contrast, saturation, hue, coloured light and greyness each take a colour
to a sum of its parts, so that all of them are one matrix a picture, after Haeberli, "Matrix Operations for Image
Processing", 1993.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from trainer.augmentation.tensors import to_device
from vitrine.recipes import AugmentRecipe

Floats = npt.NDArray[np.float64]
_LUMA: Final = np.array([0.299, 0.587, 0.114])  # BT.601
# Luma and the two differences of colour of NTSC, between which hue is an angle.
_YIQ: Final = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def has_color(recipe: AugmentRecipe) -> bool:
    return bool(recipe.brightness or recipe.contrast or recipe.saturation or recipe.hue or recipe.tint or recipe.grey)


def apply_color(pictures: torch.Tensor, matrices: Floats, of_means: Floats) -> torch.Tensor:
    """(N, 3, H, W) float32 of 0..255 in and out, each by its two matrices of (N, 3, 3)."""
    count, _, height, width = pictures.shape
    matrix, of_mean = (to_device(part.astype(np.float32), pictures.device) for part in (matrices, of_means))
    flat = pictures.reshape(count, 3, -1)
    changed = torch.baddbmm(of_mean @ flat.mean(dim=2, keepdim=True), matrix, flat)
    return changed.clamp_(0, 255).view(count, 3, height, width)


def draw_color_matrices(recipe: AugmentRecipe, count: int, chance: np.random.Generator) -> tuple[Floats, Floats]:
    """Two matrices (N, 3, 3) for each picture: of its colours, and of its mean colour, which is added to each."""
    same = np.eye(3)
    to_grey = np.tile(_LUMA, (3, 1))

    def factors(middle: float, reach: float) -> Floats:
        return chance.uniform(middle - reach, middle + reach, (count, 1, 1))

    matrices = same * factors(1.0, recipe.brightness)
    contrast = factors(1.0, recipe.contrast)
    to_middle = (1 - contrast) * (to_grey @ matrices)
    saturation = factors(1.0, recipe.saturation)
    tint = chance.uniform(1 - recipe.tint, 1 + recipe.tint, (count, 1, 3))
    greyness = (chance.random(count) < recipe.grey)[:, None, None]
    after = saturation * same + (1 - saturation) * to_grey
    after = (same * tint) @ _turned(factors(0.0, recipe.hue)) @ after
    after = np.where(greyness, to_grey @ after, after)
    return after @ (contrast * matrices), after @ to_middle


def _turned(turns: Floats) -> Floats:
    """(N, 3, 3) for `turns` (N, 1, 1) of the circle of hues."""
    angle = 2 * np.pi * turns[:, 0, 0]
    turn = np.tile(np.eye(3), (len(turns), 1, 1))
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    turned: Floats = np.linalg.inv(_YIQ) @ turn @ _YIQ
    return turned
