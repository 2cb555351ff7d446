"""Pictures damaged by chance: blurred, grained and partly hidden, each batch at once."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad

from trainer.training.sending import sent
from vitrine.recipes import AugmentRecipe, Range

_WHITE: Final = 255.0
_BLUR_SIGMA: Final[Range] = (0.4, 1.6)
_BLUR_REACH_PX: Final = 2
_GRAINED: Final = 0.5  # how often a picture is, where the recipe grains at all
_BOX_FORM: Final[Range] = (0.3, 3.3)


def damaged(pictures: torch.Tensor, recipe: AugmentRecipe, chance: np.random.Generator) -> None:
    """Change some of the `pictures` (N, 3, H, W), float32 of 0..255, in place."""
    count = len(pictures)
    rows = np.flatnonzero(chance.random(count) < recipe.blur)
    if len(rows):
        at = sent(rows, pictures.device)
        pictures[at] = blurred(pictures[at], chance.uniform(*_BLUR_SIGMA, len(rows)))
    if recipe.noise:
        rows = np.flatnonzero(chance.random(count) < _GRAINED)
        grain = chance.standard_normal((len(rows), *pictures.shape[1:]), dtype=np.float32)
        grain *= chance.uniform(0, recipe.noise * _WHITE, (len(rows), 1, 1, 1)).astype(np.float32)
        pictures[sent(rows, pictures.device)] += sent(grain, pictures.device)
    rows = np.flatnonzero(chance.random(count) < recipe.erase)
    if len(rows):
        at = sent(rows, pictures.device)
        pictures[at] = _hidden(pictures[at], recipe.erase_area, chance)


def blurred(pictures: torch.Tensor, sigmas_px: npt.NDArray[np.float64]) -> torch.Tensor:
    """(K, 3, H, W) float32 in and out, each by the 5 x 5 Gaussian of its own sigma; beyond its border a picture is
    its own mirror image.
    """
    away = np.arange(-_BLUR_REACH_PX, _BLUR_REACH_PX + 1)
    taps = np.exp(-0.5 * (away / sigmas_px[:, None]) ** 2)
    taps /= taps.sum(axis=1, keepdims=True)
    weights = sent(taps.astype(np.float32), pictures.device)
    for dim, border in ((2, (0, 0, _BLUR_REACH_PX, _BLUR_REACH_PX)), (3, (_BLUR_REACH_PX, _BLUR_REACH_PX, 0, 0))):
        length = pictures.shape[dim]
        padded = pad(pictures, border, mode="reflect")
        pictures = padded.narrow(dim, 0, length) * weights[:, 0, None, None, None]
        for number in range(1, len(away)):
            pictures.addcmul_(padded.narrow(dim, number, length), weights[:, number, None, None, None])
    return pictures


def _hidden(pictures: torch.Tensor, area: Range, chance: np.random.Generator) -> torch.Tensor:
    """A rectangle of one colour before each of the `pictures` (K, 3, H, W): a share of their area, of any form."""
    count, _, height, width = pictures.shape
    covered = height * width * chance.uniform(*area, count)
    form = np.exp(chance.uniform(math.log(_BOX_FORM[0]), math.log(_BOX_FORM[1]), count))
    rows = _span(height, np.sqrt(covered * form), chance)
    columns = _span(width, np.sqrt(covered / form), chance)
    box = sent(rows[:, None, :, None], pictures.device) & sent(columns[:, None, None, :], pictures.device)
    colours = chance.integers(0, 256, (count, 3, 1, 1)).astype(np.float32)
    return torch.where(box, sent(colours, pictures.device), pictures)


def _span(length: int, sizes: npt.NDArray[np.float64], chance: np.random.Generator) -> npt.NDArray[np.bool_]:
    """(K, length): which places a box of each of K `sizes` covers, wherever chance puts it."""
    whole = np.clip(np.rint(sizes), 1, length)
    first = np.floor(chance.random(len(sizes)) * (length - whole + 1))
    places = np.arange(length)
    covered: npt.NDArray[np.bool_] = (places >= first[:, None]) & (places < (first + whole)[:, None])
    return covered
