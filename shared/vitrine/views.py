"""A picture looked at in several ways, whose vectors' mean says more than one: mirrored, cut closer, cut out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

from PIL import Image, ImageOps

# Of cutting closer and cutting out: another number, and what was kept of such views is not used.
VIEW_RULES_VERSION: Final = 1
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
        if self.garment_alone:
            from vitrine.garments import cut_out  # OpenCV, which only those who cut out need

            image = cut_out(image)
        if self.cut_at is not None:
            left, top = round(self.cut_at[0] * image.width), round(self.cut_at[1] * image.height)
            wide, high = max(1, round(CUT_SHARE * image.width)), max(1, round(CUT_SHARE * image.height))
            image = image.crop((left, top, min(left + wide, image.width), min(top + high, image.height)))
        return ImageOps.mirror(image) if self.mirrored else image


AS_IT_IS: Final = View()


def views(*, flip: bool, crops: int, garment_alone: bool = False) -> tuple[View, ...]:
    """The picture, as it is or its garment alone, then with `crops` (0 to 5) closer cuts, then, with `flip`, all of
    these mirrored.
    """
    cuts, sides = (None, *_CUTS[:crops]), (False, True) if flip else (False,)
    return tuple(View(cut, mirrored, garment_alone) for mirrored, cut in product(sides, cuts))
