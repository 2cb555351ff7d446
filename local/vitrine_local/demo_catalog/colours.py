"""The colours of drawn garments by the names the Fashion Product catalogue gives them, as 8-bit RGB."""

from __future__ import annotations

from typing import Final

Colour = tuple[int, int, int]

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


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with `share` (0 to 1) of `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float) -> Colour:
    return mixed(colour, (12, 12, 18), share)


def lighter(colour: Colour, share: float) -> Colour:
    return mixed(colour, (255, 255, 255), share)


def luminance(colour: Colour) -> float:
    """From 0, black, to 255, white."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def contrasting(colour: Colour) -> Colour:
    """A colour for the second thread of a pattern: light on dark ground, dark or white on light ground."""
    light = luminance(colour)
    if light > 190:
        return mixed(colour, (40, 60, 110), 0.75)
    return lighter(colour, 0.8 if light < 110 else 0.85)
