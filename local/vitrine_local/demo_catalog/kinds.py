"""The kinds of garments that can be drawn, by their Fashion Product article type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vitrine_local.demo_catalog import accessories, bottoms, footwear, tops
from vitrine_local.demo_catalog.canvas import Canvas
from vitrine_local.demo_catalog.fabric import PATTERNS
from vitrine_local.demo_catalog.style import GENDERS, Style

_ALL: Final = GENDERS
_WOMEN: Final = ("Women", "Girls")
_GROWN: Final = ("Men", "Women", "Unisex")
_FULL: Final = PATTERNS
_SOBER: Final = ("plain", "stripes", "pinstripes", "checks")
_BARE: Final = ("plain",)


@dataclass(frozen=True, slots=True)
class Kind:
    """How an article type is classed, drawn and named. `noun` is what a product's name calls it."""

    article_type: str
    sub_category: str
    master_category: str
    noun: str
    draw: Callable[[Canvas, Style], None]
    genders: tuple[str, ...] = _ALL
    patterns: tuple[str, ...] = _FULL
    texture: str = "smooth"
    usages: tuple[str, ...] = ("Casual",)
    colours: tuple[str, ...] = ()  # all of them where empty


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
