"""A picture looked at in several ways, whose vectors' mean says more than one: mirrored, cut closer, cut out."""

from __future__ import annotations

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
                from vitrine.garments import cut_out  # OpenCV, which only those who cut out need

                garment = cut_out(image)
            seen = garment
        if view.cut_at is not None:
            left, top = round(view.cut_at[0] * seen.width), round(view.cut_at[1] * seen.height)
            wide, high = max(1, round(CUT_SHARE * seen.width)), max(1, round(CUT_SHARE * seen.height))
            seen = seen.crop((left, top, min(left + wide, seen.width), min(top + high, seen.height)))
        yield ImageOps.mirror(seen) if view.mirrored else seen
