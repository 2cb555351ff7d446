"""Random geometry: crop, flip, rotation, shift, shrinking and perspective as one map, so an image is resampled once.

Coordinates are normalized as in torch's grid_sample: -1 and 1 are the left and right, or upper and lower, edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import grid_sample

from trainer.augmentation.tensors import to_device
from vitrine.recipes import AugmentRecipe
from vitrine.types import Pixels, Values

FRAME_MARGIN: Final = 0.1  # of the garment, on each side
_OUTSIDE: Final = 4.0  # a coordinate outside of every image
_PERSPECTIVE_SHARE: Final = 0.5  # of the images, if the recipe has perspective
_CORNERS: Final = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
_HOMOGENEOUS_CORNERS: Final = np.column_stack([_CORNERS, np.ones(4)]).T
_SUBPIXEL_BITS: Final = 4
_TOLERANCE: Final = 1e-6
_WHITE: Final = 255
_INVERSE: Final = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass(frozen=True, slots=True)
class Warps:
    """The geometry of N images. `maps` (N, 3, 3) are homographies from the output to the crop; `centers` and `reaches`
    (N, 2) are the center and half size of the crop in the image, as x and y.
    """

    maps: Values
    centers: Values
    reaches: Values


@dataclass(frozen=True, slots=True)
class ImageWarp:
    """The geometry of one image in pixels: `map` (3, 3) from the output to the image. `outline` (4, 2) are the corners
    of the crop in the output, in fractions of a pixel, or None if the crop covers the output.
    """

    map: Values
    is_perspective: bool
    outline: npt.NDArray[np.int32] | None


def has_geometry(recipe: AugmentRecipe) -> bool:
    return bool(
        recipe.crop or recipe.flip or recipe.rotate_degrees or recipe.shift or recipe.shrink < 1 or recipe.perspective
    )


def draw_warps(recipe: AugmentRecipe, height_px: int, width_px: int, count: int, random: np.random.Generator) -> Warps:
    """Random geometry of `count` images of this size."""
    centers, reaches = _crops(recipe, count, random)
    # A rotation is one in pixels only, not in normalized coordinates of an image that is not square.
    to_pixels = np.diag([width_px / 2, height_px / 2, 1.0])
    inverse = _inverse_affine(recipe, to_pixels, count, random)
    inverse[random.random(count) < recipe.flip, 0] *= -1
    perspective = _perspectives(recipe, count, random)
    return Warps(np.linalg.inv(to_pixels) @ inverse @ to_pixels @ perspective, centers, reaches)


def garment_frames(masks: torch.Tensor, framed: torch.Tensor) -> torch.Tensor:
    """The frame around each garment, with a margin: center x, center y and reach, (N, 3) float32.

    `masks` (N, H, W) are in 0..1. Where `framed` (N,) is false or the mask is empty, the frame is the full image.
    """
    garment = masks > 0.5
    sides = []
    for dim, length in ((1, masks.shape[2]), (2, masks.shape[1])):
        covered = garment.any(dim=dim).to(torch.uint8)
        first, last = covered.argmax(dim=1), length - covered.flip(1).argmax(dim=1)
        sides.append(((first + last) / length - 1, (last - first) / length))
    (x, width), (y, height) = sides
    reach = torch.maximum(width, height) * (1 + 2 * FRAME_MARGIN)
    found = torch.stack([x, y, reach], dim=1)
    full = torch.zeros_like(found)
    full[:, 2] = 1
    return torch.where((framed & garment.any(dim=2).any(dim=1))[:, None], found, full)


def garment_frame(mask: Pixels) -> Values | None:
    """As `garment_frames`, for one mask (H, W) of 0..255: the map (3, 3) in pixels, or None if the mask is empty."""
    garment = mask > _WHITE // 2
    rows, columns = np.flatnonzero(garment.any(axis=1)), np.flatnonzero(garment.any(axis=0))
    if not len(rows):
        return None
    height, width = garment.shape
    reach = max((rows[-1] + 1 - rows[0]) / height, (columns[-1] + 1 - columns[0]) / width) * (1 + 2 * FRAME_MARGIN)
    left, top = ((at[0] + at[-1] - reach * (side - 1)) / 2 for at, side in ((columns, width), (rows, height)))
    return np.array([[reach, 0, left], [0, reach, top], [0, 0, 1]])


def warp_batch(planes: torch.Tensor, warps: Warps, frames: torch.Tensor | None = None) -> torch.Tensor:
    """Resample (N, C, H, W) float32 bilinearly, within `frames` (N, 3) if given. Outside of the crop it is 0."""
    height, width = planes.shape[2:]
    maps, centers, reaches = (
        to_device(part.astype(np.float32), planes.device) for part in (warps.maps, warps.centers, warps.reaches)
    )
    y = (torch.arange(height, device=planes.device) * 2 + 1) / height - 1
    x = (torch.arange(width, device=planes.device) * 2 + 1) / width - 1
    output = torch.stack([x.repeat(height), y.repeat_interleave(width), torch.ones_like(y).repeat(width)])
    crop = maps @ output
    crop = crop[:, :2] / crop[:, 2:]
    places = torch.baddbmm(centers[..., None], torch.diag_embed(reaches), crop)
    if frames is not None:
        places = torch.addcmul(frames[:, :2, None], frames[:, 2:, None], places)
    places = torch.where((crop.abs() <= 1).all(dim=1, keepdim=True), places, _OUTSIDE)
    grid = places.view(-1, 2, height, width).permute(0, 2, 3, 1)
    return grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def image_warps(warps: Warps, height: int, width: int) -> list[ImageWarp]:
    """The same geometry for OpenCV, image by image."""
    crops = np.tile(np.eye(3), (len(warps.maps), 1, 1))
    crops[:, [0, 1], [0, 1]], crops[:, :2, 2] = warps.reaches, warps.centers
    corners = warps.maps @ _HOMOGENEOUS_CORNERS
    beyond = np.any(np.abs(corners[:, :2]) > corners[:, 2:] + _TOLERANCE, axis=(1, 2)).tolist()
    # From pixel centers to normalized coordinates, and back.
    normalize = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    to_pixels = np.linalg.inv(normalize)
    edges = to_pixels @ np.linalg.inv(warps.maps) @ _HOMOGENEOUS_CORNERS
    outlines = np.rint((edges[:, :2] / edges[:, 2:]).transpose(0, 2, 1) * 2**_SUBPIXEL_BITS).astype(np.int32)
    maps = to_pixels @ crops @ warps.maps @ normalize
    maps /= maps[:, 2:, 2:]
    perspective = np.any(np.abs(maps[:, 2, :2]) > _TOLERANCE, axis=1).tolist()
    return [
        ImageWarp(map_, is_perspective, outline if is_beyond else None)
        for map_, is_perspective, outline, is_beyond in zip(maps, perspective, outlines, beyond, strict=True)
    ]


def warp_image(planes: list[Pixels], warp: ImageWarp, frame: Values | None) -> list[Pixels]:
    """As `warp_batch`, for the planes of one image: (H, W, 3) or (H, W) uint8 each."""
    height, width = planes[0].shape[:2]
    map_ = warp.map if frame is None else frame @ warp.map
    inside = None
    if warp.outline is not None:
        inside = cv2.fillConvexPoly(
            np.zeros((height, width), dtype=np.uint8), warp.outline, _WHITE, shift=_SUBPIXEL_BITS
        )
    warped = []
    for plane in planes:
        if warp.is_perspective:
            result = cv2.warpPerspective(plane, map_, (width, height), flags=_INVERSE)
        else:
            result = cv2.warpAffine(plane, map_[:2], (width, height), flags=_INVERSE)
        if inside is not None:
            result = cv2.bitwise_and(result, result, mask=inside)
        warped.append(np.asarray(result, dtype=np.uint8))
    return warped


def _crops(recipe: AugmentRecipe, count: int, random: np.random.Generator) -> tuple[Values, Values]:
    """The centers and half sizes (N, 2) of crops with random area and aspect ratio."""
    area = random.uniform(*(recipe.crop or (1.0, 1.0)), count)
    narrow, wide = (math.log(ratio) for ratio in recipe.crop_ratio)
    ratio = np.exp(random.uniform(narrow, wide, count)) if recipe.crop else np.ones(count)
    reaches = np.sqrt(np.stack([area * ratio, area / ratio], axis=1)).clip(max=1.0)
    return random.uniform(-1, 1, (count, 2)) * (1 - reaches), reaches


def _inverse_affine(recipe: AugmentRecipe, to_pixels: Values, count: int, random: np.random.Generator) -> Values:
    """The inverses of random rotations, scales and shifts, (N, 3, 3) in pixels from the center."""
    angle = np.radians(random.uniform(-recipe.rotate_degrees, recipe.rotate_degrees, count))
    scale = random.uniform(recipe.shrink, 1.0, count)
    shift = random.uniform(-recipe.shift, recipe.shift, (count, 2)) * 2 * np.diag(to_pixels)[:2]
    rotation = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=1).reshape(count, 2, 2)
    inverse = np.zeros((count, 3, 3))
    inverse[:, :2, :2] = rotation / scale[:, None, None]
    inverse[:, :2, 2] = -np.einsum("nij,nj->ni", inverse[:, :2, :2], shift)
    inverse[:, 2, 2] = 1.0
    return inverse


def _perspectives(recipe: AugmentRecipe, count: int, random: np.random.Generator) -> Values:
    """Homographies (N, 3, 3) from randomly moved corners to the corners of the frame, solved from the four points
    (Hartley and Zisserman, "Multiple View Geometry in Computer Vision", section 4.1).
    """
    maps = np.tile(np.eye(3), (count, 1, 1))
    if not recipe.perspective:
        return maps
    corners = _CORNERS + random.uniform(-recipe.perspective, recipe.perspective, (count, 4, 2))
    x, y = corners[..., 0], corners[..., 1]
    u, v = (np.broadcast_to(_CORNERS[:, axis], x.shape) for axis in (0, 1))
    zero, one = np.zeros_like(x), np.ones_like(x)
    equations = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=2),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=2),
        ],
        axis=1,
    )
    solved = np.linalg.solve(equations, np.concatenate([u, v], axis=1)[..., None])[..., 0]
    chosen = random.random(count) < _PERSPECTIVE_SHARE
    maps[chosen] = np.concatenate([solved, np.ones((count, 1))], axis=1).reshape(count, 3, 3)[chosen]
    return maps
