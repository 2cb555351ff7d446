"""A region of a picture file, by its header alone: how many pixels it has, how large the whole is decoded for it, and
where it lies in the pixels as stored, which its EXIF orientation may have turned or mirrored.
"""

from __future__ import annotations

from typing import Final

from vitrine.images.checks import DecodeCost, ImageLimits, check_form, decode_cost
from vitrine.images.headers import TURNED, PictureHeader
from vitrine.images.views import Region

Box = tuple[int, int, int, int]

# EXIF orientations in which, the sides exchanged where need be, left is right; and in which above is below.
_LEFT_IS_RIGHT: Final = frozenset({2, 3, 7, 8})
_ABOVE_IS_BELOW: Final = frozenset({3, 4, 6, 7})


def check_region(header: PictureHeader, region: Region, *, limits: ImageLimits) -> None:
    """Hold a region against the limits of a picture of its own. Raises ImageRejected, `too_small` or `aspect`."""
    check_form("region", *_region_size(header, region), limits=limits)


def region_decode_px(
    header: PictureHeader, file_bytes: int, region: Region, *, target_px: int, limits: ImageLimits
) -> int:
    """The short side, in pixels, that the whole picture is decoded to so that the region's is `target_px` or more.

    It is less only where a progressive JPEG at that scale would cost more than `limits` allow.
    """
    short_px = min(header.width, header.height)
    wanted_px = -(-short_px * target_px // min(_region_size(header, region)))
    while wanted_px > target_px and _too_much(decode_cost(header, file_bytes, short_side_px=wanted_px), limits):
        wanted_px = max(target_px, wanted_px // 2)
    return wanted_px


def stored_box(region: Region, *, orientation: int, width_px: int, height_px: int) -> Box:
    """(left, top, right, bottom) of a region of the upright picture in its pixels as stored, `width_px` by `height_px`,
    to which `orientation` (EXIF, 1 to 8) has not been applied yet.
    """
    if orientation in TURNED:
        top, left, bottom, right = region.box(height_px, width_px)
    else:
        left, top, right, bottom = region.box(width_px, height_px)
    if orientation in _LEFT_IS_RIGHT:
        left, right = width_px - right, width_px - left
    if orientation in _ABOVE_IS_BELOW:
        top, bottom = height_px - bottom, height_px - top
    return left, top, right, bottom


def _region_size(header: PictureHeader, region: Region) -> tuple[int, int]:
    """Width and height in pixels of the file's own scale."""
    left, top, right, bottom = region.box(*header.upright_size)
    return right - left, bottom - top


def _too_much(cost: DecodeCost, limits: ImageLimits) -> bool:
    return cost.memory_bytes > limits.max_decode_bytes or cost.cpu_s > limits.max_decode_s
