"""The style of one drawn garment: cloth, colours, wearer, and the deterministic random choices of its design."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from PIL import Image

Colour = tuple[int, int, int]  # 8-bit RGB

GENDERS: Final = ("Men", "Women", "Unisex", "Boys", "Girls")
# By the names of the Fashion Product catalogue.
COLOURS: Final[dict[str, Colour]] = {
    "Black": (34, 34, 38),
    "White": (243, 243, 240),
    "Grey": (136, 138, 142),
    "Navy Blue": (32, 42, 86),
    "Blue": (46, 98, 190),
    "Teal": (18, 124, 128),
    "Turquoise Blue": (60, 186, 198),
    "Green": (44, 138, 72),
    "Olive": (108, 112, 54),
    "Yellow": (240, 202, 54),
    "Orange": (234, 124, 40),
    "Red": (200, 36, 44),
    "Maroon": (112, 24, 44),
    "Pink": (236, 128, 168),
    "Magenta": (198, 36, 126),
    "Purple": (112, 58, 150),
    "Lavender": (178, 160, 214),
    "Brown": (110, 70, 44),
    "Tan": (190, 144, 98),
    "Beige": (222, 204, 172),
    "Khaki": (172, 158, 112),
    "Cream": (244, 234, 208),
    "Silver": (190, 194, 200),
    "Gold": (202, 164, 74),
}


def number(*parts: object) -> float:
    """A deterministic random number in [0, 1), the hash of `parts`: the same on every machine and in every version."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


@dataclass(frozen=True, slots=True)
class Style:
    """The parameters of one drawing.

    cloth: fabric over the whole canvas, RGB.
    design: seeds every free choice. piece: seeds small changes of each measure, as between two photos of one design.
    """

    gender: str
    cloth: Image.Image
    pattern: str
    colour: Colour
    second: Colour
    trim: Colour
    design: str
    piece: str

    @property
    def is_feminine(self) -> bool:
        return self.gender in {"Women", "Girls"}

    @property
    def is_child(self) -> bool:
        return self.gender in {"Boys", "Girls"}

    def between(self, name: str, low: float, high: float) -> float:
        """A measure of the design, from `low` to `high`; pieces differ by up to 20 % of the range."""
        chosen = number(self.design, name) + 0.2 * (number(self.piece, name) - 0.5)
        return low + (high - low) * min(max(chosen, 0.0), 1.0)

    def chance(self, name: str, share: float) -> bool:
        """Whether the design has a feature that a fraction `share` (0 to 1) of all designs has."""
        return number(self.design, name) < share

    def pick(self, name: str, count: int) -> int:
        """One of `count` variants of the design, from 0."""
        return int(number(self.design, name) * count)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` (0 to 1) of `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    return mixed(colour, (12, 12, 18), share)


def lighter(colour: Colour, share: float) -> Colour:
    return mixed(colour, (255, 255, 255), share)


def luminance(colour: Colour) -> float:
    """0 (black) to 255 (white)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def contrasting(colour: Colour) -> Colour:
    """The second colour of a pattern: light on a dark ground, dark or white on a light ground."""
    light = luminance(colour)
    if light > 190:
        return mixed(colour, (40, 60, 110), 0.75)
    return lighter(colour, 0.8 if light < 110 else 0.85)
