"""A region of a picture: a rectangle in fractions of the upright picture's sides, and its pixels in the stored file.

Everything here works on the file's header; no image library is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vitrine.errors import ParameterInvalid
from vitrine.images.checks import DecodeCost, ImageLimits, check_form, decode_cost
from vitrine.images.headers import TURNED, PictureHeader

Box = tuple[int, int, int, int]  # left, top, right, bottom

# The minimum share of a side that a region covers.
MIN_REGION_SHARE: Final = 0.01
# Tolerance for the sum of a caller's rounded fractions.
_ROUNDING: Final = 1e-6
_FRACTION: Final = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
# EXIF orientations that mirror left and right, and top and bottom, after the sides are exchanged if need be.
_LEFT_IS_RIGHT: Final = frozenset({2, 3, 7, 8})
_TOP_IS_BOTTOM: Final = frozenset({3, 4, 6, 7})


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle in the upright picture: its top left corner (x, y) and its size, as fractions of the sides."""

    x: float
    y: float
    width: float
    height: float

    def box(self, width_px: int, height_px: int) -> Box:
        """(left, top, right, bottom) in an upright picture of this size, in pixels; each side has at least 1 pixel."""
        left, right = _span(self.x, self.width, width_px)
        top, bottom = _span(self.y, self.height, height_px)
        return left, top, right, bottom


def region_text(region: Region) -> str:
    """The region in the form of API parameters: `x,y,width,height`."""
    return ",".join(map(repr, (region.x, region.y, region.width, region.height)))


def parse_region(text: str) -> Region:
    """Parse `x,y,width,height`. Rounding errors beyond the picture's sides are clamped.

    Raises ParameterInvalid if a part is not a number, the region extends beyond the picture, or it is too small.
    """
    parts = text.split(",")
    if len(parts) != 4:
        raise ParameterInvalid(
            f"region {text[:80]!r}: give four numbers as x,y,width,height, each a fraction of the upright picture"
        )
    x, y, width, height = (
        _fraction(name, part) for name, part in zip(("x", "y", "width", "height"), parts, strict=True)
    )
    x, width = _checked_span("x", x, "width", width)
    y, height = _checked_span("y", y, "height", height)
    return Region(x, y, width, height)


def check_region(header: PictureHeader, region: Region, *, limits: ImageLimits) -> None:
    """Raises ImageRejected (`too_small` or `aspect`) if the region does not meet the limits for a whole picture."""
    check_form("region", *_region_size(header, region), limits=limits)


def region_decode_px(
    header: PictureHeader, file_bytes: int, region: Region, *, target_px: int, limits: ImageLimits
) -> int:
    """The short side in pixels to decode the whole picture to, so that the region's short side is at least `target_px`.

    It is smaller only if a progressive JPEG at that scale would exceed the decode cost of `limits`.
    """
    short_px = min(header.width, header.height)
    wanted_px = -(-short_px * target_px // min(_region_size(header, region)))
    while wanted_px > target_px and _too_much(decode_cost(header, file_bytes, short_side_px=wanted_px), limits):
        wanted_px = max(target_px, wanted_px // 2)
    return wanted_px


def stored_box(region: Region, *, orientation: int, width_px: int, height_px: int) -> Box:
    """The box of a region in the stored pixels, `width_px` by `height_px`, before `orientation` (EXIF, 1 to 8)."""
    if orientation in TURNED:
        top, left, bottom, right = region.box(height_px, width_px)
    else:
        left, top, right, bottom = region.box(width_px, height_px)
    if orientation in _LEFT_IS_RIGHT:
        left, right = width_px - right, width_px - left
    if orientation in _TOP_IS_BOTTOM:
        top, bottom = height_px - bottom, height_px - top
    return left, top, right, bottom


def _fraction(name: str, text: str) -> float:
    if not _FRACTION.fullmatch(text):
        raise ParameterInvalid(f"the region's {name} is {text[:30]!r}: it must be a decimal fraction, such as 0.25")
    return float(text)


def _checked_span(start_name: str, start: float, size_name: str, size: float) -> tuple[float, float]:
    """The start and size of a region on one axis, clamped to the picture. Raises ParameterInvalid."""
    if not -_ROUNDING <= start < 1:
        raise ParameterInvalid(f"the region's {start_name} is {start:g}: it must be at least 0 and less than 1")
    if size < MIN_REGION_SHARE:
        raise ParameterInvalid(
            f"the region's {size_name} is {size:g}: it must be at least {MIN_REGION_SHARE:g} of the picture's"
        )
    if start + size > 1 + _ROUNDING:
        raise ParameterInvalid(
            f"the region extends beyond the picture: {start_name} and {size_name} are {start + size:g} together, "
            "at most 1 is possible"
        )
    start = max(0.0, start)
    return start, min(size, 1 - start)


def _span(start: float, size: float, side_px: int) -> tuple[int, int]:
    first = min(round(start * side_px), side_px - 1)
    return first, min(side_px, max(first + 1, round((start + size) * side_px)))


def _region_size(header: PictureHeader, region: Region) -> tuple[int, int]:
    """(width, height) in pixels at the file's full size."""
    left, top, right, bottom = region.box(*header.upright_size)
    return right - left, bottom - top


def _too_much(cost: DecodeCost, limits: ImageLimits) -> bool:
    return cost.memory_bytes > limits.max_decode_bytes or cost.cpu_s > limits.max_decode_s
