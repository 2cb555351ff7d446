"""Which part of a picture is looked at, and in which ways: mirrored, cut closer, cut out. The mean of the vectors of
several views says more than one of them. Nothing here needs an image library until a picture is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from vitrine.errors import ParameterInvalid

if TYPE_CHECKING:
    from PIL import Image

# Of cutting closer and cutting out: another number, and what was kept of such views is not used.
VIEW_RULES_VERSION: Final = 2
# A picture is decoded for views with a short side of this much or more, and shrunk to less than twice as much before
# it is cut and mirrored: no network sees more of it.
VIEWED_SHORT_SIDE_PX: Final = 512
# What a cut keeps of each side.
CUT_SHARE: Final = 0.85
_REST: Final = 1 - CUT_SHARE
# Where cuts begin, as shares of the sides: the middle, then the corners.
_CUTS: Final = ((_REST / 2, _REST / 2), (0.0, 0.0), (_REST, 0.0), (0.0, _REST), (_REST, _REST))
MAX_CROPS: Final = len(_CUTS)
# The least share of a side that a region covers.
MIN_REGION_SHARE: Final = 0.01
# How far the sums of a caller's rounded fractions may be off.
_ROUNDING: Final = 1e-6
_FRACTION: Final = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the upright picture: where it begins, at (x, y), and its size, all as fractions of the sides."""

    x: float
    y: float
    width: float
    height: float

    def box(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in an upright picture of this size, in pixels, at least 1 pixel a side."""
        left, right = _span(self.x, self.width, width_px)
        top, bottom = _span(self.y, self.height, height_px)
        return left, top, right, bottom


def region_text(region: Region) -> str:
    """The region as calls name it: `x,y,width,height`."""
    return ",".join(map(repr, (region.x, region.y, region.width, region.height)))


def parse_region(text: str) -> Region:
    """The region that `x,y,width,height` names. What rounding puts beyond the picture is clamped.

    Raises ParameterInvalid if a part is no number, the region reaches beyond the picture, or it is too small.
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


def _fraction(name: str, text: str) -> float:
    if not _FRACTION.fullmatch(text):
        raise ParameterInvalid(f"the region's {name} is {text[:30]!r}: it must be a decimal fraction, such as 0.25")
    return float(text)


def _checked_span(start_name: str, start: float, size_name: str, size: float) -> tuple[float, float]:
    """Where a region begins on one axis and its size, clamped to the picture. Raises ParameterInvalid."""
    if not -_ROUNDING <= start < 1:
        raise ParameterInvalid(f"the region's {start_name} is {start:g}: it must be at least 0 and less than 1")
    if size < MIN_REGION_SHARE:
        raise ParameterInvalid(
            f"the region's {size_name} is {size:g}: it must be at least {MIN_REGION_SHARE:g} of the picture's"
        )
    if start + size > 1 + _ROUNDING:
        raise ParameterInvalid(
            f"the region reaches beyond the picture: {start_name} and {size_name} are {start + size:g} together, "
            "and 1 is the most"
        )
    start = max(0.0, start)
    return start, min(size, 1 - start)


def _span(start: float, size: float, side_px: int) -> tuple[int, int]:
    first = min(round(start * side_px), side_px - 1)
    return first, min(side_px, max(first + 1, round((start + size) * side_px)))


@dataclass(frozen=True, slots=True)
class View:
    """One way of looking: as the picture is or its garment cut out, all of that or from (left, top) so much of it, and
    mirrored or not.
    """

    cut_at: tuple[float, float] | None = None
    mirrored: bool = False
    garment_alone: bool = False

    def of(self, image: Image.Image) -> Image.Image:
        """The picture in this view, of 1 pixel a side or more."""
        return next(in_views(image, (self,)))


AS_IT_IS: Final = View()


def views(*, flip: bool, crops: int, garment_alone: bool = False) -> tuple[View, ...]:
    """The picture, as it is or its garment alone, then with `crops` (0 to 5) closer cuts, then, with `flip`, all of
    these mirrored.
    """
    cuts, sides = (None, *_CUTS[:crops]), (False, True) if flip else (False,)
    return tuple(View(cut, mirrored, garment_alone) for mirrored, cut in product(sides, cuts))


def views_text(*, flip: bool, crops: int, garment_alone: bool = False) -> str:
    """The same as a call to the embedder names it: `cutout,flip,crops:5`. Empty for the picture as it is alone."""
    named = [("cutout", garment_alone), ("flip", flip), (f"crops:{crops}", crops > 0)]
    return ",".join(name for name, wanted in named if wanted)


def parse_views(text: str) -> tuple[View, ...]:
    """The views that `views_text` names. Raises ParameterInvalid."""
    flip = garment_alone = False
    crops = 0
    for name in filter(None, text.split(",")):
        kind, _, number = name.partition(":")
        if name == "flip":
            flip = True
        elif name == "cutout":
            garment_alone = True
        elif (
            kind == "crops" and number.isascii() and number.isdigit() and len(number) == 1 and int(number) <= MAX_CROPS
        ):
            crops = int(number)
        else:
            raise ParameterInvalid(f"views {text[:80]!r}: use any of cutout, flip and crops:0 to crops:{MAX_CROPS}")
    return views(flip=flip, crops=crops, garment_alone=garment_alone)


def in_views(
    image: Image.Image, wanted: Sequence[View], *, short_side_px: int = VIEWED_SHORT_SIDE_PX
) -> Iterator[Image.Image]:
    """The RGB picture in each view, one after the other. The garment is cut out once, however many views show it.

    A picture whose short side is at least twice `short_side_px` is shrunk before, but for the one view AS_IT_IS.
    """
    from PIL import ImageOps  # only a process that looks at pictures needs it

    if any(view != AS_IT_IS for view in wanted):
        factor = min(image.size) // short_side_px
        image = image.reduce(factor) if factor > 1 else image
    garment: Image.Image | None = None
    for view in wanted:
        seen = image
        if view.garment_alone:
            if garment is None:
                from vitrine.images.cutout import cut_out  # OpenCV, which only those who cut out need

                garment = cut_out(image)
            seen = garment
        if view.cut_at is not None:
            left, top = round(view.cut_at[0] * seen.width), round(view.cut_at[1] * seen.height)
            wide, high = max(1, round(CUT_SHARE * seen.width)), max(1, round(CUT_SHARE * seen.height))
            seen = seen.crop((left, top, min(left + wide, seen.width), min(top + high, seen.height)))
        yield ImageOps.mirror(seen) if view.mirrored else seen
