"""Draws one garment: the kinds of garments by their Fashion Product article type, and the picture of one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from vitrine.errors import ParameterInvalid
from vitrine_local.demo_catalog import accessories, bottoms, footwear, tops
from vitrine_local.demo_catalog.canvas import Canvas, Pose
from vitrine_local.demo_catalog.fabric import PATTERNS, fabric, repeat_for, trim_of
from vitrine_local.demo_catalog.style import COLOURS, GENDERS, Colour, Style, contrasting, mixed, number

_ALL: Final = GENDERS
_WOMEN: Final = ("Women", "Girls")
_GROWN: Final = ("Men", "Women", "Unisex")
_FULL: Final = PATTERNS
_SOBER: Final = ("plain", "stripes", "pinstripes", "checks")
_BARE: Final = ("plain",)


@dataclass(frozen=True, slots=True)
class Kind:
    """How an article type is classified and drawn. `noun` is the word in product names."""

    article_type: str
    sub_category: str
    master_category: str
    noun: str
    draw: Callable[[Canvas, Style], None]
    genders: tuple[str, ...] = _ALL
    patterns: tuple[str, ...] = _FULL
    texture: str = "smooth"
    usages: tuple[str, ...] = ("Casual",)
    colours: tuple[str, ...] = ()  # empty: all


_KINDS: Final = (
    Kind("Tshirts", "Topwear", "Apparel", "T-shirt", tops.draw_tshirt, usages=("Casual", "Sports")),
    Kind("Shirts", "Topwear", "Apparel", "Shirt", tops.draw_shirt, patterns=(*_SOBER, "dots", "floral"),
         usages=("Casual", "Formal")),
    Kind("Tops", "Topwear", "Apparel", "Top", tops.draw_top, genders=_WOMEN),
    Kind("Sweaters", "Topwear", "Apparel", "Sweater", tops.draw_sweater, texture="knit",
         patterns=("plain", "stripes", "zigzag", "checks")),
    Kind("Sweatshirts", "Topwear", "Apparel", "Hooded Sweatshirt", tops.draw_sweatshirt,
         patterns=("plain", "stripes", "gradient"), usages=("Casual", "Sports")),
    Kind("Jackets", "Topwear", "Apparel", "Jacket", tops.draw_jacket, patterns=("plain", "checks", "gradient")),
    Kind("Dresses", "Dress", "Apparel", "Dress", tops.draw_dress, genders=_WOMEN, usages=("Casual", "Party")),
    Kind("Skirts", "Bottomwear", "Apparel", "Skirt", bottoms.draw_skirt, genders=_WOMEN),
    Kind("Jeans", "Bottomwear", "Apparel", "Jeans", bottoms.draw_jeans, genders=("Men", "Women", "Boys", "Girls"),
         patterns=_BARE, texture="denim", colours=("Blue", "Navy Blue", "Black", "Grey", "Teal", "White")),
    Kind("Trousers", "Bottomwear", "Apparel", "Trousers", bottoms.draw_trousers, genders=("Men", "Women", "Boys"),
         patterns=("plain", "pinstripes", "checks"), usages=("Formal", "Casual")),
    Kind("Shorts", "Bottomwear", "Apparel", "Shorts", bottoms.draw_shorts,
         patterns=("plain", "checks", "stripes", "floral"), usages=("Casual", "Sports")),
    Kind("Casual Shoes", "Shoes", "Footwear", "Casual Shoes", footwear.draw_sneaker,
         patterns=("plain", "checks", "gradient")),
    Kind("Heels", "Shoes", "Footwear", "Heels", footwear.draw_heel, genders=("Women",),
         patterns=("plain", "dots", "gradient"), usages=("Party", "Casual")),
    Kind("Flip Flops", "Flip Flops", "Footwear", "Flip Flops", footwear.draw_flip_flops,
         patterns=("plain", "stripes", "floral")),
    Kind("Handbags", "Bags", "Accessories", "Handbag", accessories.draw_handbag, genders=("Women",),
         patterns=("plain", "checks", "floral", "stripes"), texture="leather"),
    Kind("Backpacks", "Bags", "Accessories", "Backpack", accessories.draw_backpack, genders=("Unisex", "Boys", "Girls"),
         patterns=("plain", "checks", "zigzag", "dots"), usages=("Casual", "Sports")),
    Kind("Watches", "Watches", "Accessories", "Watch", accessories.draw_watch, genders=_GROWN, patterns=_BARE,
         texture="leather", usages=("Casual", "Formal")),
    Kind("Caps", "Headwear", "Accessories", "Cap", accessories.draw_cap, genders=("Men", "Unisex", "Women", "Boys"),
         patterns=("plain", "checks", "stripes")),
    Kind("Sunglasses", "Eyewear", "Accessories", "Sunglasses", accessories.draw_sunglasses, genders=_GROWN,
         patterns=("plain", "gradient")),
    Kind("Ties", "Ties", "Accessories", "Tie", accessories.draw_tie, genders=("Men",),
         patterns=("plain", "stripes", "dots", "checks", "zigzag"), usages=("Formal",)),
)  # fmt: skip
KINDS: Final[dict[str, Kind]] = {kind.article_type: kind for kind in _KINDS}


DEFAULT_SIZE: Final = (120, 160)
_BACKGROUNDS: Final[tuple[Colour, ...]] = (
    (255, 255, 255), (255, 255, 255), (250, 250, 250), (244, 244, 246), (247, 244, 239), (239, 243, 247),
)  # fmt: skip
_MAX_SIDE_PX: Final = 2048


def draw_garment(
    article_type: str,
    colour: str,
    pattern: str = "plain",
    gender: str = "Women",
    seed: int = 0,
    size: tuple[int, int] = DEFAULT_SIZE,
    *,
    design: int = 0,
) -> Image.Image:
    """Draw a garment as an RGB image of `size` (width, height) pixels.

    The same arguments give the same pixels. `design` seeds the cut (neckline, length, details); `seed` seeds only pose
    and light, so that several seeds of one design look like photos of the same product. Raises ParameterInvalid if the
    article type, colour, pattern or gender is unknown, or a side is not 8 to 2048 pixels.
    """
    for value, known, what in (
        (article_type, KINDS, "article type"),
        (colour, COLOURS, "colour"),
        (pattern, PATTERNS, "pattern"),
        (gender, GENDERS, "gender"),
    ):
        if value not in known:
            raise ParameterInvalid(f"unknown {what} {value!r}; known are {', '.join(known)}")
    if not all(8 <= side <= _MAX_SIDE_PX for side in size):
        raise ParameterInvalid(f"the size is {size}; each side must be 8 to {_MAX_SIDE_PX} pixels")
    kind = KINDS[article_type]
    look = f"{article_type}/{design}"
    piece = f"{look}/{colour}/{pattern}/{gender}/{seed}"
    canvas = Canvas(size, _pose(piece, is_child=gender in {"Boys", "Girls"}))
    # Colours are derived from the dye before the tint, so that all pieces of a design have the same.
    tint, dye = _tint(piece), COLOURS[colour]
    ground, second, trim = (mixed(shade, tint, 0.06) for shade in (dye, _second_colour(look, dye), trim_of(dye)))
    cloth = fabric(
        canvas.garment_units(),
        pattern=pattern,
        size=repeat_for(number(look, "repeat")),
        ground=ground,
        second=second,
        texture=kind.texture,
    )
    style = Style(gender, cloth, pattern, ground, second, trim, look, piece)
    kind.draw(canvas, style)
    background = _BACKGROUNDS[int(number(piece, "background") * len(_BACKGROUNDS))]
    noise = np.random.default_rng(int(number(piece, "grain") * 2**32))
    grain = noise.normal(0.0, 1.6, (size[1], size[0])).astype(np.float32)
    return canvas.finished(background, shadow=0.35 + 0.4 * number(piece, "shadow"), grain=grain)


def _pose(piece: str, *, is_child: bool) -> Pose:
    def around(name: str, middle: float, spread: float) -> float:
        return middle + spread * (2 * number(piece, name) - 1)

    return Pose(
        turn=around("turn", 0.0, 0.07),
        scale=around("scale", 0.82 if is_child else 0.93, 0.05),
        stretch=around("stretch", 1.05 if is_child else 1.0, 0.035),
        move_x=around("move x", 0.0, 2.2),
        move_y=around("move y", 0.0, 2.5),
    )


def _tint(piece: str) -> Colour:
    """The colour of the light: slightly warm or cool, bright or dark."""
    warm, bright = number(piece, "warm"), number(piece, "bright")
    level = round(90 + 110 * bright)
    return min(level + round(40 * warm), 255), level, min(level + round(40 * (1 - warm)), 255)


def _second_colour(look: str, dye: Colour) -> Colour:
    """The pattern's second colour: mostly a contrast, sometimes another colour."""
    if number(look, "second") < 0.65:
        return contrasting(dye)
    others = [colour for colour in COLOURS.values() if sum(abs(a - b) for a, b in zip(colour, dye, strict=True)) > 220]
    return others[int(number(look, "second colour") * len(others))]
