"""Random image corruption: Gaussian blur, Gaussian noise, and random erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from torch.nn.functional import pad

from trainer.augmentation.tensors import to_device
from vitrine.recipes import AugmentRecipe, Range
from vitrine.types import Pixels, Rows, Values, Vectors

_WHITE: Final = 255
_BLUR_SIGMA_PX: Final[Range] = (0.4, 1.6)
_BLUR_RADIUS_PX: Final = 2
_KERNEL_PX: Final = (2 * _BLUR_RADIUS_PX + 1, 2 * _BLUR_RADIUS_PX + 1)
_NOISE_SHARE: Final = 0.5  # of the images, if the recipe has noise
_BOX_RATIO: Final[Range] = (0.3, 3.3)


@dataclass(frozen=True, slots=True)
class Corruption:
    """The corruptions of a batch, each for K of its images: `blurred`, `noisy` and `erased` are their rows (K,).

    `sigmas_px` (K,) are the blurs' standard deviations, `noise` (K, H, W, 3) float32 is added, and `boxes` (K, 4), as
    top, bottom, left, right, are filled with `fills` (K, 3) uint8.
    """

    blurred: Rows
    sigmas_px: Values
    noisy: Rows
    noise: Vectors
    erased: Rows
    boxes: Rows
    fills: Pixels


def draw_corruption(
    recipe: AugmentRecipe, height_px: int, width_px: int, count: int, random: np.random.Generator
) -> Corruption:
    """Random corruptions of `count` images of this size."""
    blurred = np.flatnonzero(random.random(count) < recipe.blur)
    sigmas = random.uniform(*_BLUR_SIGMA_PX, len(blurred))
    noisy = np.flatnonzero(random.random(count) < (_NOISE_SHARE if recipe.noise else 0.0))
    noise = random.standard_normal((len(noisy), height_px, width_px, 3), dtype=np.float32)
    noise *= random.uniform(0, recipe.noise * _WHITE, (len(noisy), 1, 1, 1)).astype(np.float32)
    erased = np.flatnonzero(random.random(count) < recipe.erase)
    area = height_px * width_px * random.uniform(*recipe.erase_area, len(erased))
    ratio = np.exp(random.uniform(math.log(_BOX_RATIO[0]), math.log(_BOX_RATIO[1]), len(erased)))
    top, bottom = _spans(height_px, np.sqrt(area * ratio), random)
    left, right = _spans(width_px, np.sqrt(area / ratio), random)
    fills = random.integers(0, 256, (len(erased), 3)).astype(np.uint8)
    return Corruption(blurred, sigmas, noisy, noise, erased, np.stack([top, bottom, left, right], axis=1), fills)


def corrupt_batch(images: torch.Tensor, corruption: Corruption) -> None:
    """Corrupt `images` (N, 3, H, W) float32 in 0..255 in place."""
    device = images.device
    if len(corruption.blurred):
        rows = to_device(corruption.blurred, device)
        images[rows] = gaussian_blur(images[rows], corruption.sigmas_px)
    if len(corruption.noisy):
        images[to_device(corruption.noisy, device)] += to_device(corruption.noise.transpose(0, 3, 1, 2), device)
    if len(corruption.erased):
        rows = to_device(corruption.erased, device)
        top, bottom, left, right = to_device(corruption.boxes, device)[:, :, None, None].unbind(dim=1)
        y, x = (torch.arange(length, device=device) for length in images.shape[2:])
        in_rows = (y >= top) & (y < bottom)
        in_columns = (x >= left) & (x < right)
        fills = to_device(corruption.fills, device).float()[:, :, None, None]
        images[rows] = torch.where(in_rows[..., None] & in_columns[:, :, None], fills, images[rows])


def corrupt_images(images: Pixels, corruption: Corruption) -> None:
    """Corrupt `images` (N, H, W, 3) uint8 in place."""
    for row, sigma in zip(corruption.blurred, corruption.sigmas_px, strict=True):
        images[row] = cv2.GaussianBlur(images[row], _KERNEL_PX, float(sigma), borderType=cv2.BORDER_REFLECT_101)
    for row, noise in zip(corruption.noisy, corruption.noise, strict=True):
        images[row] = np.rint(np.clip(images[row] + noise, 0, _WHITE))
    for row, (top, bottom, left, right), fill in zip(
        corruption.erased, corruption.boxes, corruption.fills, strict=True
    ):
        images[row, top:bottom, left:right] = fill


def gaussian_blur(images: torch.Tensor, sigmas_px: Values) -> torch.Tensor:
    """Blur (K, 3, H, W) float32 with a 5 x 5 kernel, each image with its own sigma. Borders are mirrored."""
    offsets = np.arange(-_BLUR_RADIUS_PX, _BLUR_RADIUS_PX + 1)
    kernels = np.exp(-0.5 * (offsets / sigmas_px[:, None]) ** 2)
    kernels /= kernels.sum(axis=1, keepdims=True)
    weights = to_device(kernels.astype(np.float32), images.device)
    vertical, horizontal = (0, 0, _BLUR_RADIUS_PX, _BLUR_RADIUS_PX), (_BLUR_RADIUS_PX, _BLUR_RADIUS_PX, 0, 0)
    for dim, border in ((2, vertical), (3, horizontal)):
        length = images.shape[dim]
        padded = pad(images, border, mode="reflect")
        images = padded.narrow(dim, 0, length) * weights[:, 0, None, None, None]
        for number in range(1, len(offsets)):
            images.addcmul_(padded.narrow(dim, number, length), weights[:, number, None, None, None])
    return images


def _spans(length: int, sizes: Values, random: np.random.Generator) -> tuple[Rows, Rows]:
    """The start and end (K,) of boxes of these sizes at random places."""
    rounded = np.clip(np.rint(sizes), 1, length).astype(np.int64)
    first = np.floor(random.random(len(sizes)) * (length - rounded + 1)).astype(np.int64)
    return first, first + rounded
