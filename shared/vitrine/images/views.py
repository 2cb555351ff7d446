"""Views of a picture for test-time augmentation: mirrored, cropped, or the garment cut out. The vectors of all views
are averaged. The image library is imported only when a picture is processed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from vitrine.errors import ParameterInvalid

if TYPE_CHECKING:
    from PIL import Image

# Version of the crop and cut-out rules. A change invalidates cached results of such views.
VIEW_RULES_VERSION: Final = 4
# For views, a picture is decoded to at least this short side, and reduced to less than twice as much before it is
# cropped and mirrored: no network has a larger input.
VIEWED_SHORT_SIDE_PX: Final = 512
CROP_SHARE: Final = 0.85  # of each side
_REST: Final = 1 - CROP_SHARE
# The top left corners of the crops, as fractions of the sides: the centre crop, then the corner crops.
_CROPS: Final = ((_REST / 2, _REST / 2), (0.0, 0.0), (_REST, 0.0), (0.0, _REST), (_REST, _REST))
MAX_CROPS: Final = len(_CROPS)
_CROP_COUNTS: Final = {f"crops:{count}": count for count in range(MAX_CROPS + 1)}


# Cuts the garment out of an RGB picture.
CutOut = Callable[["Image.Image"], "Image.Image"]


@dataclass(frozen=True, slots=True)
class View:
    """One view: the picture or its cut-out garment, cropped at `crop_at` (left, top, as fractions), and mirrored."""

    crop_at: tuple[float, float] | None = None
    mirrored: bool = False
    cutout: bool = False

    def of(self, image: Image.Image, *, cut_out: CutOut | None = None) -> Image.Image:
        """This view of the picture; each side has at least 1 pixel."""
        return next(in_views(image, (self,), cut_out=cut_out))


AS_IT_IS: Final = View()


def views(*, flip: bool, crops: int, cutout: bool = False) -> tuple[View, ...]:
    """The whole picture or cut-out garment, then `crops` (0 to 5) crops of it, and with `flip` all of them mirrored."""
    corners, sides = (None, *_CROPS[:crops]), (False, True) if flip else (False,)
    return tuple(View(corner, mirrored, cutout) for mirrored, corner in product(sides, corners))


def views_text(*, flip: bool, crops: int, cutout: bool = False) -> str:
    """The same in the form of API parameters, such as `cutout,flip,crops:5`. Empty for the unchanged picture alone."""
    named = [("cutout", cutout), ("flip", flip), (f"crops:{crops}", crops > 0)]
    return ",".join(name for name, wanted in named if wanted)


def parse_views(text: str) -> tuple[View, ...]:
    """Parse the text of `views_text`. Raises ParameterInvalid."""
    flip = cutout = False
    crops = 0
    for name in filter(None, text.split(",")):
        if name == "flip":
            flip = True
        elif name == "cutout":
            cutout = True
        elif name in _CROP_COUNTS:
            crops = _CROP_COUNTS[name]
        else:
            raise ParameterInvalid(f"views {text[:80]!r}: use any of cutout, flip and crops:0 to crops:{MAX_CROPS}")
    return views(flip=flip, crops=crops, cutout=cutout)


def in_views(
    image: Image.Image,
    wanted: Sequence[View],
    *,
    short_side_px: int = VIEWED_SHORT_SIDE_PX,
    cut_out: CutOut | None = None,
) -> Iterator[Image.Image]:
    """Yield the views of an RGB picture, in order. The garment is cut out at most once, by `cut_out`, which views of it
    need.

    A picture whose short side is at least twice `short_side_px` is reduced first, unless AS_IT_IS is the only view.
    """
    from PIL import ImageOps  # lazy: callers that only parse views do not need Pillow

    if any(view != AS_IT_IS for view in wanted):
        factor = min(image.size) // short_side_px
        image = image.reduce(factor) if factor > 1 else image
    garment: Image.Image | None = None
    for view in wanted:
        seen = image
        if view.cutout:
            assert cut_out is not None, "a view of the garment needs a way to cut it out"
            garment = garment or cut_out(image)
            seen = garment
        if view.crop_at is not None:
            left, top = round(view.crop_at[0] * seen.width), round(view.crop_at[1] * seen.height)
            wide, high = max(1, round(CROP_SHARE * seen.width)), max(1, round(CROP_SHARE * seen.height))
            seen = seen.crop((left, top, min(left + wide, seen.width), min(top + high, seen.height)))
        yield ImageOps.mirror(seen) if view.mirrored else seen
