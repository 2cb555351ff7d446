"""Random color changes: brightness, contrast, saturation, hue, tint and grayscale.

Each is linear in the color channels, so all of them together are one matrix per image (Haeberli, "Matrix Operations for
Image Processing", 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch

from trainer.augmentation.tensors import to_device
from vitrine.recipes import PictureChanges
from vitrine.types import Pixels, Values

_LUMA: Final = np.array([0.299, 0.587, 0.114])  # BT.601
# RGB to YIQ, the luma and chrominance of NTSC. Hue is an angle in the plane of I and Q.
_YIQ: Final = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True, slots=True)
class ColorMatrices:
    """For each of N images: the matrix of its pixels, and the matrix of its mean color, which is added (N, 3, 3)."""

    of_pixels: Values
    of_mean: Values


def has_color(recipe: PictureChanges) -> bool:
    return bool(recipe.brightness or recipe.contrast or recipe.saturation or recipe.hue or recipe.tint or recipe.grey)


def draw_color_matrices(recipe: PictureChanges, count: int, random: np.random.Generator) -> ColorMatrices:
    """Random color changes of `count` images."""
    identity = np.eye(3)
    to_gray = np.tile(_LUMA, (3, 1))

    def factors(center: float, reach: float) -> Values:
        return random.uniform(center - reach, center + reach, (count, 1, 1))

    brightness = identity * factors(1.0, recipe.brightness)
    contrast = factors(1.0, recipe.contrast)
    to_mean_gray = (1 - contrast) * (to_gray @ brightness)
    saturation = factors(1.0, recipe.saturation)
    tint = random.uniform(1 - recipe.tint, 1 + recipe.tint, (count, 1, 3))
    is_gray = (random.random(count) < recipe.grey)[:, None, None]
    after = saturation * identity + (1 - saturation) * to_gray
    after = (identity * tint) @ _hue_rotations(factors(0.0, recipe.hue)) @ after
    after = np.where(is_gray, to_gray @ after, after)
    return ColorMatrices(after @ (contrast * brightness), after @ to_mean_gray)


def color_batch(images: torch.Tensor, matrices: ColorMatrices) -> torch.Tensor:
    """(N, 3, H, W) float32 in 0..255, in and out."""
    count, _, height, width = images.shape
    of_pixels, of_mean = (
        to_device(part.astype(np.float32), images.device) for part in (matrices.of_pixels, matrices.of_mean)
    )
    flat = images.reshape(count, 3, -1)
    changed = torch.baddbmm(of_mean @ flat.mean(dim=2, keepdim=True), of_pixels, flat)
    return changed.clamp_(0, 255).view(count, 3, height, width)


def color_image(image: Pixels, matrices: ColorMatrices, row: int) -> Pixels:
    """(H, W, 3) uint8, in and out, with the matrices at `row`."""
    affine = np.empty((3, 4))
    affine[:, :3], affine[:, 3] = matrices.of_pixels[row], matrices.of_mean[row] @ cv2.mean(image)[:3]
    return np.asarray(cv2.transform(image, affine), dtype=np.uint8)


def _hue_rotations(turns: Values) -> Values:
    """(N, 3, 3) for `turns` (N, 1, 1), where 1 is a full circle of hues."""
    angle = 2 * np.pi * turns[:, 0, 0]
    rotation = np.tile(np.eye(3), (len(turns), 1, 1))
    rotation[:, 1, 1] = rotation[:, 2, 2] = np.cos(angle)
    rotation[:, 1, 2], rotation[:, 2, 1] = -np.sin(angle), np.sin(angle)
    rotations: Values = np.linalg.inv(_YIQ) @ rotation @ _YIQ
    return rotations
