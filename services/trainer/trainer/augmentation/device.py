"""Changes of a whole batch at once, by torch, where the batch lies."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from trainer.augmentation.background import Backgrounds
from trainer.augmentation.color import apply_color
from trainer.augmentation.corruption import apply_corruption
from trainer.augmentation.geometry import garment_frames, warp
from trainer.augmentation.plan import AugmentationPlan
from trainer.augmentation.tensors import to_device

_WHITE: Final = 255.0


def augment_batch(
    pictures: torch.Tensor, masks: torch.Tensor | None, changes: AugmentationPlan, backgrounds: Backgrounds | None
) -> torch.Tensor:
    """(N, 3, H, W) uint8 in and out; `masks` (N, 1 or 2, H, W) uint8 where garments are cut out."""
    # What a picture lacks of white and what a mask has: 0 beyond the frame is white there, and no garment.
    planes = _WHITE - pictures.float()
    frames = None
    if masks is not None:
        planes = _cut_out(planes, masks.float() / _WHITE, changes)
        if changes.alone.any():
            frames = garment_frames(planes[:, 3], to_device(changes.alone, planes.device))
    if changes.moves is not None:
        planes = warp(planes, changes.moves, frames)
    if backgrounds is not None and masks is not None:
        _put_on(planes, changes, backgrounds)
    changed = _WHITE - planes[:, :3]
    if changes.colours is not None:
        changed = apply_color(changed, *changes.colours)
    apply_corruption(changed, changes.damage)
    return changed.clamp_(0, _WHITE).round_().to(torch.uint8)


def _cut_out(lacking: torch.Tensor, masks: torch.Tensor, changes: AugmentationPlan) -> torch.Tensor:
    """(N, 4, H, W): the pictures with the mask that is used, some without their wearer."""
    used = masks[:, :1]
    if changes.bare.any():
        rows = to_device(np.flatnonzero(changes.bare), masks.device)
        lacking[rows] *= masks[rows, 1:] / masks[rows, :1].clamp(min=1 / _WHITE)
        used = used.clone()
        used[rows] = masks[rows, 1:]
    return torch.cat([lacking, used], dim=1)


def _put_on(planes: torch.Tensor, changes: AugmentationPlan, backgrounds: Backgrounds) -> None:
    """Fill what the masks leave. Of a pixel that is half garment, half white, the garment's half is all that it lacks
    of white.
    """
    pieces = {row: piece for row, piece in enumerate(changes.behind) if piece is not None}
    if pieces:
        behind = _WHITE - backgrounds.on_device(list(pieces.values())).permute(0, 3, 1, 2).float()
        rows = to_device(np.fromiter(pieces, dtype=np.int64), planes.device)
        planes[rows, :3] += behind * (1 - planes[rows, 3:])
