"""Pictures warp by chance: the cut, the mirror, the turn, the move, the shrinking and the tilt of a picture are one
map of the plane, so that it is sampled once however much is asked for, a whole batch at a time.

Places are shares of half a frame's sides, -1 to 1 from its left and its upper edge, as torch's grid_sample takes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

from trainer.augmentation.tensors import to_device
from vitrine.recipes import AugmentRecipe

Floats = npt.NDArray[np.float64]
_BEYOND: Final = 4.0  # a place outside of every picture
FRAME_MARGIN: Final = 0.1  # of the garment, on each side
_TILTED: Final = 0.5  # how often a picture is, where the recipe tilts at all
_CORNERS: Final = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@dataclass(frozen=True, slots=True)
class Warps:
    """Where each of N pictures is looked at: `maps` (N, 3, 3) lead from the new frame to the cut's, homogeneous;
    `centres` and `reaches` (N, 2) say where the cut lies in the picture, across and down.
    """

    maps: Floats
    centres: Floats
    reaches: Floats


def has_warps(recipe: AugmentRecipe) -> bool:
    return bool(
        recipe.crop or recipe.flip or recipe.rotate_degrees or recipe.shift or recipe.shrink < 1 or recipe.perspective
    )


def draw_warps(recipe: AugmentRecipe, height_px: int, width_px: int, count: int, chance: np.random.Generator) -> Warps:
    """A draw for each of `count` pictures of this size."""
    centres, reaches = _cuts(recipe, count, chance)
    # Turns are turns only in pixels, not in shares of two unequal sides.
    half = np.diag([width_px / 2, height_px / 2, 1.0])
    back = _undone(recipe, half, count, chance)
    back[chance.random(count) < recipe.flip, 0] *= -1
    tilts = _tilts(recipe, count, chance)
    return Warps(np.linalg.inv(half) @ back @ half @ tilts, centres, reaches)


def garment_frames(masks: torch.Tensor, framed: torch.Tensor) -> torch.Tensor:
    """(N, 3) float32: the centre, across and down, and the reach of a frame around the garment of each of `masks`
    (N, H, W), with the margin that a cut-out query has; the whole picture where it is not `framed` (N,) or empty.
    """
    garment = masks > 0.5
    sides = []
    for dim, length in ((1, masks.shape[2]), (2, masks.shape[1])):
        covered = garment.any(dim=dim).to(torch.uint8)
        first, last = covered.argmax(dim=1), length - covered.flip(1).argmax(dim=1)
        sides.append(((first + last) / length - 1, (last - first) / length))
    (across, width), (down, height) = sides
    reach = torch.maximum(width, height) * (1 + 2 * FRAME_MARGIN)
    found = torch.stack([across, down, reach], dim=1)
    whole = torch.zeros_like(found)
    whole[:, 2] = 1
    return torch.where((framed & garment.any(dim=2).any(dim=1))[:, None], found, whole)


def warp(planes: torch.Tensor, moves: Warps, frames: torch.Tensor | None = None) -> torch.Tensor:
    """(N, C, H, W) float32 in and out, bilinear, each seen in its frame of `frames` (N, 3) if any are given. What lies
    beyond a picture or its cut is 0.
    """
    height, width = planes.shape[2:]
    maps, centres, reaches = (
        to_device(part.astype(np.float32), planes.device) for part in (moves.maps, moves.centres, moves.reaches)
    )
    down = (torch.arange(height, device=planes.device) * 2 + 1) / height - 1
    across = (torch.arange(width, device=planes.device) * 2 + 1) / width - 1
    frame = torch.stack([across.repeat(height), down.repeat_interleave(width), torch.ones_like(down).repeat(width)])
    cut = maps @ frame
    cut = cut[:, :2] / cut[:, 2:]
    places = torch.baddbmm(centres[..., None], torch.diag_embed(reaches), cut)
    if frames is not None:
        places = torch.addcmul(frames[:, :2, None], frames[:, 2:, None], places)
    places = torch.where((cut.abs() <= 1).all(dim=1, keepdim=True), places, _BEYOND)
    grid = places.view(-1, 2, height, width).permute(0, 2, 3, 1)
    return grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _cuts(recipe: AugmentRecipe, count: int, chance: np.random.Generator) -> tuple[Floats, Floats]:
    """The cuts' centres and half sides (N, 2): a share of the area, near the input's form."""
    area = chance.uniform(*(recipe.crop or (1.0, 1.0)), count)
    narrow, wide = (math.log(form) for form in recipe.crop_ratio)
    form = np.exp(chance.uniform(narrow, wide, count)) if recipe.crop else np.ones(count)
    reaches = np.sqrt(np.stack([area * form, area / form], axis=1)).clip(max=1.0)
    return chance.uniform(-1, 1, (count, 2)) * (1 - reaches), reaches


def _undone(recipe: AugmentRecipe, half: Floats, count: int, chance: np.random.Generator) -> Floats:
    """(N, 3, 3) in pixels from the centre: what takes back a turn, a shrinking and a move."""
    angle = np.radians(chance.uniform(-recipe.rotate_degrees, recipe.rotate_degrees, count))
    size = chance.uniform(recipe.shrink, 1.0, count)
    by = chance.uniform(-recipe.shift, recipe.shift, (count, 2)) * 2 * np.diag(half)[:2]
    turn = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    back = np.zeros((count, 3, 3))
    back[:, :2, :2] = turn / size[:, None, None]
    back[:, :2, 2] = -np.einsum("nij,nj->ni", back[:, :2, :2], by)
    back[:, 2, 2] = 1.0
    return back


def _tilts(recipe: AugmentRecipe, count: int, chance: np.random.Generator) -> Floats:
    """(N, 3, 3): the homographies that take warp corners back to a frame's own, four points giving its eight numbers
    (Hartley and Zisserman, "Multiple View Geometry in Computer Vision", section 4.1).
    """
    tilts = np.tile(np.eye(3), (count, 1, 1))
    if not recipe.perspective:
        return tilts
    corners = _CORNERS + chance.uniform(-recipe.perspective, recipe.perspective, (count, 4, 2))
    x, y = corners[..., 0], corners[..., 1]
    u, v = (np.broadcast_to(_CORNERS[:, axis], x.shape) for axis in (0, 1))
    none, one = np.zeros_like(x), np.ones_like(x)
    equations = np.concatenate(
        [
            np.stack([x, y, one, none, none, none, -u * x, -u * y], axis=2),
            np.stack([none, none, none, x, y, one, -v * x, -v * y], axis=2),
        ],
        axis=1,
    )
    found = np.linalg.solve(equations, np.concatenate([u, v], axis=1)[..., None])[..., 0]
    chosen = chance.random(count) < _TILTED
    tilts[chosen] = np.concatenate([found, np.ones((count, 1))], axis=1).reshape(count, 3, 3)[chosen]
    return tilts
