"""The augmentation pipeline: draw the changes of a batch, then apply them on the device of the images.

The draw is separate from the kernels, so a run gives the same images after a resume and, up to rounding, on every
device. Each kind of change has two kernels: torch's work on a whole batch and run on a GPU; OpenCV's work on one uint8
image and are 4 to 13 times as fast as torch's on a CPU core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch

from trainer.augmentation.background import BackgroundCrop, Backgrounds
from trainer.augmentation.color import ColorMatrices, color_batch, color_image, draw_color_matrices, has_color
from trainer.augmentation.corruption import Corruption, corrupt_batch, corrupt_images, draw_corruption
from trainer.augmentation.geometry import (
    ImageWarp,
    Warps,
    draw_warps,
    garment_frame,
    garment_frames,
    has_geometry,
    image_warps,
    warp_batch,
    warp_image,
)
from trainer.augmentation.tensors import to_device
from vitrine.recipes import AugmentRecipe
from vitrine.types import Flags, Pixels

_CPU: Final = torch.device("cpu")
_WHITE: Final = 255


@dataclass(frozen=True, slots=True)
class AugmentationPlan:
    """The changes of N images.

    Skin is removed from those with `skinless` (N,), and of these the `isolated` (N,) are shown alone on white.
    `backgrounds` (N,) are their new backgrounds, None if the image keeps its own. `warps` and `colors` are None if the
    recipe changes no geometry or no color.
    """

    skinless: Flags
    isolated: Flags
    backgrounds: tuple[BackgroundCrop | None, ...]
    warps: Warps | None
    colors: ColorMatrices | None
    corruption: Corruption


def masks_needed(recipe: AugmentRecipe) -> int:
    """Masks that the recipe needs of each image: 0, 1 (foreground), or 2 (foreground, and garment without skin)."""
    if recipe.undress or recipe.alone:
        return 2
    return 1 if recipe.background else 0


def draw_plan(
    recipe: AugmentRecipe,
    height_px: int,
    width_px: int,
    count: int,
    random: np.random.Generator,
    backgrounds: Backgrounds | None,
) -> AugmentationPlan:
    """Random changes of `count` images of this size. Without `backgrounds` every image keeps its own."""
    replaced = random.random(count) < (0.0 if backgrounds is None else recipe.background)
    isolated = random.random(count) < recipe.alone
    replaced &= ~isolated
    skinless = isolated | (replaced & (random.random(count) < recipe.undress))
    warps = None
    if isolated.any() or has_geometry(recipe):
        warps = draw_warps(recipe, height_px, width_px, count, random)
    drawn: list[BackgroundCrop | None] = [None] * count
    if backgrounds is not None:
        for row in np.flatnonzero(replaced):
            drawn[row] = backgrounds.draw(random)
    colors = draw_color_matrices(recipe, count, random) if has_color(recipe) else None
    corruption = draw_corruption(recipe, height_px, width_px, count, random)
    return AugmentationPlan(skinless, isolated, tuple(drawn), warps, colors, corruption)


class Augmenter:
    """Applies the `augment` table of a recipe to images of one size. Safe to share between threads.

    A `background_share` of the backgrounds are corners of the images `backgrounds` (N, H, W, 3).
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
            Backgrounds(height_px, width_px, seed=seed, device=device, images=backgrounds, share=background_share)
            if recipe.background
            else None
        )

    def __call__(self, images: torch.Tensor, masks: torch.Tensor | None, random: np.random.Generator) -> torch.Tensor:
        """(N, 3, H, W) uint8, in and out. `masks` (N, 1 or 2, H, W) uint8 as `masks_needed` says."""
        plan = draw_plan(self._recipe, *self._size, len(images), random, self._backgrounds)
        if images.device.type != "cpu":
            return augment_batch(images, masks, plan, self._backgrounds)
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        augmented = augment_images(pixels, None if masks is None else masks.numpy(), plan, self._backgrounds)
        return torch.from_numpy(augmented).permute(0, 3, 1, 2)


def augment_batch(
    images: torch.Tensor, masks: torch.Tensor | None, plan: AugmentationPlan, backgrounds: Backgrounds | None
) -> torch.Tensor:
    """Apply `plan` with torch. (N, 3, H, W) uint8, in and out; `masks` (N, 1 or 2, H, W) uint8."""
    # Inverted images: what a warp fills with 0 becomes white, and 0 in the mask.
    planes = _WHITE - images.float()
    frames = None
    if masks is not None:
        planes = _with_mask(planes, masks.float() / _WHITE, plan)
        if plan.isolated.any():
            frames = garment_frames(planes[:, 3], to_device(plan.isolated, planes.device))
    if plan.warps is not None:
        planes = warp_batch(planes, plan.warps, frames)
    if backgrounds is not None and masks is not None:
        _fill_backgrounds(planes, plan, backgrounds)
    changed = _WHITE - planes[:, :3]
    if plan.colors is not None:
        changed = color_batch(changed, plan.colors)
    corrupt_batch(changed, plan.corruption)
    return changed.clamp_(0, _WHITE).round_().to(torch.uint8)


def _with_mask(inverted: torch.Tensor, masks: torch.Tensor, plan: AugmentationPlan) -> torch.Tensor:
    """(N, 4, H, W): the images, without skin where planned, and the mask of what is left."""
    used = masks[:, :1]
    if plan.skinless.any():
        rows = to_device(np.flatnonzero(plan.skinless), masks.device)
        inverted[rows] *= masks[rows, 1:] / masks[rows, :1].clamp(min=1 / _WHITE)
        used = used.clone()
        used[rows] = masks[rows, 1:]
    return torch.cat([inverted, used], dim=1)


def _fill_backgrounds(planes: torch.Tensor, plan: AugmentationPlan, backgrounds: Backgrounds) -> None:
    """Add the backgrounds where the mask is not full. A pixel at the edge of a garment is a mix with white, so its
    inverted value is the garment's share already.
    """
    drawn = {row: crop for row, crop in enumerate(plan.backgrounds) if crop is not None}
    if drawn:
        behind = _WHITE - backgrounds.crop_batch(list(drawn.values())).permute(0, 3, 1, 2).float()
        rows = to_device(np.fromiter(drawn, dtype=np.int64), planes.device)
        planes[rows, :3] += behind * (1 - planes[rows, 3:])


def augment_images(
    images: Pixels, masks: Pixels | None, plan: AugmentationPlan, backgrounds: Backgrounds | None
) -> Pixels:
    """Apply `plan` with OpenCV. (N, H, W, 3) uint8, in and out; `masks` (N, 1 or 2, H, W) uint8."""
    warps = None if plan.warps is None else image_warps(plan.warps, *images.shape[1:3])
    changed = np.empty_like(images)
    for row, image in enumerate(images):
        warp = None if warps is None else warps[row]
        changed[row] = _augment_image(image, None if masks is None else masks[row], plan, row, warp, backgrounds)
    corrupt_images(changed, plan.corruption)
    return changed


def _augment_image(
    image: Pixels,
    masks: Pixels | None,
    plan: AugmentationPlan,
    row: int,
    warp: ImageWarp | None,
    backgrounds: Backgrounds | None,
) -> Pixels:
    """The steps of `augment_batch`, but corruption, for one image (H, W, 3)."""
    planes = [np.asarray(cv2.bitwise_not(image), dtype=np.uint8)]
    frame = None
    background = plan.backgrounds[row]
    if masks is not None and plan.skinless[row]:
        share = masks[1].astype(np.float32) / np.maximum(masks[0], 1)
        planes = [np.asarray(cv2.multiply(planes[0], cv2.merge([share] * 3), dtype=cv2.CV_8U), dtype=np.uint8)]
        if plan.isolated[row]:
            frame = garment_frame(masks[1])
    if masks is not None and background is not None:
        planes.append(masks[int(plan.skinless[row])])  # warped with the image, to be filled afterwards
    if warp is not None:
        planes = warp_image(planes, warp, frame)
    inverted = planes[0]
    if len(planes) > 1 and background is not None and backgrounds is not None:
        free = cv2.merge([cv2.bitwise_not(planes[1])] * 3)
        filling = cv2.multiply(cv2.bitwise_not(backgrounds.crop(background)), free, scale=1 / _WHITE)
        inverted = np.asarray(cv2.add(inverted, filling), dtype=np.uint8)
    changed = np.asarray(cv2.bitwise_not(inverted), dtype=np.uint8)
    return changed if plan.colors is None else color_image(changed, plan.colors, row)
