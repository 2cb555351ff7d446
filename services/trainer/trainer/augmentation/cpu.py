"""Changes of one picture after the other, by OpenCV on one core, in whole numbers: on a CPU, which has the network to
work on, several times as fast as torch's kernels for whole batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from trainer.augmentation.background import Backgrounds
from trainer.augmentation.corruption import BLUR_REACH_PX, Corruption
from trainer.augmentation.geometry import FRAME_MARGIN, Warps
from trainer.augmentation.plan import AugmentationPlan, Matrices
from vitrine.types import Pixels

_WHITE: Final = 255
_KERNEL_PX: Final = (2 * BLUR_REACH_PX + 1, 2 * BLUR_REACH_PX + 1)
_FRAME_CORNERS: Final = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=np.float64).T
_SUBPIXEL_BITS: Final = 4
_NEARLY: Final = 1e-6
_INVERSE: Final = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def augment_pictures(
    pictures: Pixels, masks: Pixels | None, changes: AugmentationPlan, backgrounds: Backgrounds | None
) -> Pixels:
    """(N, H, W, 3) uint8 in and out; `masks` (N, 1 or 2, H, W) uint8 where garments are cut out."""
    views = None if changes.moves is None else _views(changes.moves, *pictures.shape[1:3])
    changed = np.empty_like(pictures)
    for row, picture in enumerate(pictures):
        view = None if views is None else views[row]
        changed[row] = _changed(picture, None if masks is None else masks[row], changes, row, view, backgrounds)
    _damage(changed, changes.damage)
    return changed


def _changed(
    picture: Pixels,
    masks: Pixels | None,
    changes: AugmentationPlan,
    row: int,
    view: _View | None,
    backgrounds: Backgrounds | None,
) -> Pixels:
    # What a picture lacks of white and what a mask has: 0 beyond the frame is white there, and no garment.
    planes = [np.asarray(cv2.bitwise_not(picture), dtype=np.uint8)]
    frame = None
    behind = changes.behind[row]
    if masks is not None and changes.bare[row]:
        share = masks[1].astype(np.float32) / np.maximum(masks[0], 1)
        planes = [np.asarray(cv2.multiply(planes[0], cv2.merge([share] * 3), dtype=cv2.CV_8U), dtype=np.uint8)]
        if changes.alone[row]:
            frame = _frame(masks[1])
    if masks is not None and behind is not None:
        planes.append(masks[int(changes.bare[row])])  # what is put behind it comes where the mask will be
    if view is not None:
        planes = _moved(planes, view, frame)
    lacking = planes[0]
    if len(planes) > 1 and behind is not None and backgrounds is not None:
        # Of a pixel that is half garment, half white, the garment's half is all that it lacks of white.
        left = cv2.merge([cv2.bitwise_not(planes[1])] * 3)
        filling = cv2.multiply(cv2.bitwise_not(backgrounds.on_host(behind)), left, scale=1 / _WHITE)
        lacking = np.asarray(cv2.add(lacking, filling), dtype=np.uint8)
    seen = np.asarray(cv2.bitwise_not(lacking), dtype=np.uint8)
    return seen if changes.colours is None else _recoloured(seen, changes.colours, row)


def _frame(mask: Pixels) -> Matrices | None:
    """(3, 3) in pixels: from a frame around the garment to the picture, that of `garment_frames`; None without any."""
    garment = mask > _WHITE // 2
    rows, columns = np.flatnonzero(garment.any(axis=1)), np.flatnonzero(garment.any(axis=0))
    if not len(rows):
        return None
    height, width = garment.shape
    reach = max((rows[-1] + 1 - rows[0]) / height, (columns[-1] + 1 - columns[0]) / width) * (1 + 2 * FRAME_MARGIN)
    left, top = ((at[0] + at[-1] - reach * (side - 1)) / 2 for at, side in ((columns, width), (rows, height)))
    return np.array([[reach, 0, left], [0, reach, top], [0, 0, 1]])


@dataclass(frozen=True, slots=True)
class _View:
    """`map` (3, 3) leads from the new frame to the picture, both in pixels; `cut`, if the new frame reaches beyond it,
    has the corners of what is seen (4, 2) in parts of a pixel of the new frame.
    """

    map: Matrices
    tilted: bool
    cut: npt.NDArray[np.int32] | None


def _views(moves: Warps, height: int, width: int) -> list[_View]:
    cuts = np.tile(np.eye(3), (len(moves.maps), 1, 1))
    cuts[:, [0, 1], [0, 1]], cuts[:, :2, 2] = moves.reaches, moves.centres
    corners = moves.maps @ _FRAME_CORNERS
    beyond = np.any(np.abs(corners[:, :2]) > corners[:, 2:] + _NEARLY, axis=(1, 2)).tolist()
    # From the places of pixels to shares of half a frame's sides from its middle, and back.
    to_shares = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    to_pixels = np.linalg.inv(to_shares)
    edges = to_pixels @ np.linalg.inv(moves.maps) @ _FRAME_CORNERS
    outlines = np.rint((edges[:, :2] / edges[:, 2:]).transpose(0, 2, 1) * 2**_SUBPIXEL_BITS).astype(np.int32)
    maps = to_pixels @ cuts @ moves.maps @ to_shares
    maps /= maps[:, 2:, 2:]
    tilted = np.any(np.abs(maps[:, 2, :2]) > _NEARLY, axis=1).tolist()
    return [
        _View(map_, tilts, outline if reaches else None)
        for map_, tilts, outline, reaches in zip(maps, tilted, outlines, beyond, strict=True)
    ]


def _moved(planes: list[Pixels], view: _View, frame: Matrices | None) -> list[Pixels]:
    """The picture, and its mask where there is one, seen through the new frame."""
    height, width = planes[0].shape[:2]
    map_ = view.map if frame is None else frame @ view.map
    inside = None
    if view.cut is not None:
        inside = cv2.fillConvexPoly(np.zeros((height, width), dtype=np.uint8), view.cut, _WHITE, shift=_SUBPIXEL_BITS)
    seen = []
    for plane in planes:
        if view.tilted:
            there = cv2.warpPerspective(plane, map_, (width, height), flags=_INVERSE)
        else:
            there = cv2.warpAffine(plane, map_[:2], (width, height), flags=_INVERSE)
        if inside is not None:
            there = cv2.bitwise_and(there, there, mask=inside)
        seen.append(np.asarray(there, dtype=np.uint8))
    return seen


def _recoloured(picture: Pixels, colours: tuple[Matrices, Matrices], row: int) -> Pixels:
    matrix, of_mean = (matrices[row] for matrices in colours)
    whole = np.empty((3, 4))
    whole[:, :3], whole[:, 3] = matrix, of_mean @ cv2.mean(picture)[:3]
    return np.asarray(cv2.transform(picture, whole), dtype=np.uint8)


def _damage(pictures: Pixels, damage: Corruption) -> None:
    for row, sigma in zip(damage.blurred, damage.sigmas_px, strict=True):
        pictures[row] = cv2.GaussianBlur(pictures[row], _KERNEL_PX, float(sigma), borderType=cv2.BORDER_REFLECT_101)
    for row, grain in zip(damage.grained, damage.grain, strict=True):
        pictures[row] = np.rint(np.clip(pictures[row] + grain, 0, _WHITE))
    for row, (top, bottom, left, right), colour in zip(damage.hidden, damage.boxes, damage.colours, strict=True):
        pictures[row, top:bottom, left:right] = colour
