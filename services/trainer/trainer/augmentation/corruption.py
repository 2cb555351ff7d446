"""Pictures apply_corruption by chance: blurred, grained and partly hidden."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad

from trainer.augmentation.tensors import to_device
from vitrine.recipes import AugmentRecipe, Range

Rows = npt.NDArray[np.int64]
_WHITE: Final = 255.0
_BLUR_SIGMA_PX: Final[Range] = (0.4, 1.6)
BLUR_REACH_PX: Final = 2
_GRAINED: Final = 0.5  # how often a picture is, where the recipe grains at all
_BOX_FORM: Final[Range] = (0.3, 3.3)


@dataclass(frozen=True, slots=True)
class Corruption:
    """Which pictures of a batch are blurred, by the Gaussian of which sigma; which are grained, by how much at each
    pixel (K, H, W, 3) float32; and before which stands a box, from and to which row and column (K, 4), of which colour
    (K, 3) uint8. Each picture has at most one of each.
    """

    blurred: Rows
    sigmas_px: npt.NDArray[np.float64]
    grained: Rows
    grain: npt.NDArray[np.float32]
    hidden: Rows
    boxes: Rows
    colours: npt.NDArray[np.uint8]


def draw_corruption(
    recipe: AugmentRecipe, height_px: int, width_px: int, count: int, chance: np.random.Generator
) -> Corruption:
    """A draw for each of `count` pictures of this size."""
    blurred = np.flatnonzero(chance.random(count) < recipe.blur)
    sigmas = chance.uniform(*_BLUR_SIGMA_PX, len(blurred))
    grained = np.flatnonzero(chance.random(count) < (_GRAINED if recipe.noise else 0.0))
    grain = chance.standard_normal((len(grained), height_px, width_px, 3), dtype=np.float32)
    grain *= chance.uniform(0, recipe.noise * _WHITE, (len(grained), 1, 1, 1)).astype(np.float32)
    hidden = np.flatnonzero(chance.random(count) < recipe.erase)
    area = height_px * width_px * chance.uniform(*recipe.erase_area, len(hidden))
    form = np.exp(chance.uniform(math.log(_BOX_FORM[0]), math.log(_BOX_FORM[1]), len(hidden)))
    top, bottom = _span(height_px, np.sqrt(area * form), chance)
    left, right = _span(width_px, np.sqrt(area / form), chance)
    colours = chance.integers(0, 256, (len(hidden), 3)).astype(np.uint8)
    return Corruption(blurred, sigmas, grained, grain, hidden, np.stack([top, bottom, left, right], axis=1), colours)


def apply_corruption(pictures: torch.Tensor, damage: Corruption) -> None:
    """Change the `pictures` (N, 3, H, W), float32 of 0..255, in place, a whole batch at once."""
    device = pictures.device
    if len(damage.blurred):
        at = to_device(damage.blurred, device)
        pictures[at] = blurred(pictures[at], damage.sigmas_px)
    if len(damage.grained):
        pictures[to_device(damage.grained, device)] += to_device(damage.grain.transpose(0, 3, 1, 2), device)
    if len(damage.hidden):
        at = to_device(damage.hidden, device)
        top, bottom, left, right = to_device(damage.boxes, device)[:, :, None, None].unbind(dim=1)
        down, across = (torch.arange(length, device=device) for length in pictures.shape[2:])
        rows = (down >= top) & (down < bottom)
        columns = (across >= left) & (across < right)
        colours = to_device(damage.colours, device).float()[:, :, None, None]
        pictures[at] = torch.where(rows[..., None] & columns[:, :, None], colours, pictures[at])


def blurred(pictures: torch.Tensor, sigmas_px: npt.NDArray[np.float64]) -> torch.Tensor:
    """(K, 3, H, W) float32 in and out, each by the 5 x 5 Gaussian of its own sigma; beyond its border a picture is
    its own mirror image.
    """
    away = np.arange(-BLUR_REACH_PX, BLUR_REACH_PX + 1)
    taps = np.exp(-0.5 * (away / sigmas_px[:, None]) ** 2)
    taps /= taps.sum(axis=1, keepdims=True)
    weights = to_device(taps.astype(np.float32), pictures.device)
    for dim, border in ((2, (0, 0, BLUR_REACH_PX, BLUR_REACH_PX)), (3, (BLUR_REACH_PX, BLUR_REACH_PX, 0, 0))):
        length = pictures.shape[dim]
        padded = pad(pictures, border, mode="reflect")
        pictures = padded.narrow(dim, 0, length) * weights[:, 0, None, None, None]
        for number in range(1, len(away)):
            pictures.addcmul_(padded.narrow(dim, number, length), weights[:, number, None, None, None])
    return pictures


def _span(length: int, sizes: npt.NDArray[np.float64], chance: np.random.Generator) -> tuple[Rows, Rows]:
    """(K,) each: from and to where boxes of these sizes reach, wherever chance puts them."""
    whole = np.clip(np.rint(sizes), 1, length).astype(np.int64)
    first = np.floor(chance.random(len(sizes)) * (length - whole + 1)).astype(np.int64)
    return first, first + whole
