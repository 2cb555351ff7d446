"""Fabrics: a pattern in two colours over the whole canvas, later clipped to the garment's outline.

Patterns use the garment's coordinates, so that stripes rotate with the shirt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, ImageChops

from vitrine_local.demo_catalog.canvas import FloatArray
from vitrine_local.demo_catalog.style import Colour, darker, lighter, luminance

# The fraction of the second colour at each pixel: bool, or 0 to 1.
Share = np.ndarray[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class _Ground:
    """The position of every pixel, and the size of the pattern's repeat, in garment units."""

    x: FloatArray
    y: FloatArray
    repeat: float

    def lattice(self, step: float) -> tuple[Share, Share, Share, Share]:
        """(row, column, dx, dy) of each pixel on a grid with shifted odd rows; dx and dy from the cell's middle."""
        row = np.floor(self.y / step)
        shifted = self.x + np.mod(row, 2) * (step / 2)
        return row, np.floor(shifted / step), np.mod(shifted, step) - step / 2, np.mod(self.y, step) - step / 2


def _stripes(ground: _Ground) -> Share:
    return np.mod(ground.y, ground.repeat) < ground.repeat * 0.42


def _pinstripes(ground: _Ground) -> Share:
    return np.mod(ground.x, ground.repeat * 0.8) < ground.repeat * 0.16


def _checks(ground: _Ground) -> Share:
    size = ground.repeat * 1.5
    across, down = np.mod(ground.x, size) < size * 0.4, np.mod(ground.y, size) < size * 0.4
    return across * np.float32(0.5) + down * np.float32(0.5)


def _dots(ground: _Ground) -> Share:
    step = ground.repeat * 1.15
    _, _, dx, dy = ground.lattice(step)
    return np.hypot(dx, dy) < step * 0.27


def _gradient(ground: _Ground) -> Share:
    return np.clip((ground.y - 25) / 85, 0, 1)


def _floral(ground: _Ground) -> Share:
    step = ground.repeat * 2.1
    row, column, dx, dy = ground.lattice(step)
    # Each blossom is shifted and rotated, so that the rows are not visible.
    jitter = np.sin(row * 12.9 + column * 78.2) * step * 0.16
    dx, dy = dx + jitter, dy - jitter * 0.7
    distance, angle = np.hypot(dx, dy), np.arctan2(dy, dx) + row + column
    petals = distance < step * (0.24 + 0.15 * np.cos(5 * angle))
    return np.where(distance < step * 0.09, np.float32(0.35), petals)


def _zigzag(ground: _Ground) -> Share:
    wave = np.abs(np.mod(ground.x, ground.repeat * 1.2) - ground.repeat * 0.6)
    return np.mod(ground.y + wave, ground.repeat * 1.1) < ground.repeat * 0.45


_WEAVES: Final[dict[str, Callable[[_Ground], Share]]] = {
    "stripes": _stripes,
    "pinstripes": _pinstripes,
    "checks": _checks,
    "dots": _dots,
    "gradient": _gradient,
    "floral": _floral,
    "zigzag": _zigzag,
}
PATTERNS: Final = ("plain", *_WEAVES)


def fabric(
    units: tuple[FloatArray, FloatArray],
    *,
    pattern: str,
    size: float,
    ground: Colour,
    second: Colour,
    texture: str = "smooth",
) -> Image.Image:
    """An RGB image of the fabric over the whole canvas. `size` is the pattern's repeat in garment units."""
    x, y = units
    cloth = Image.new("RGB", (x.shape[1], x.shape[0]), ground)
    if pattern != "plain":
        cloth.paste(second, (0, 0), _mask(_WEAVES[pattern](_Ground(x, y, size))))
    light = _mask(_texture(texture, x, y))
    return ImageChops.multiply(cloth, Image.merge("RGB", (light, light, light)))


def _texture(texture: str, x: FloatArray, y: FloatArray) -> Share:
    """The brightness of the fabric at each pixel, 0 to 1."""
    light: Share
    if texture == "knit":
        light = 0.88 + 0.12 * np.sin(x * 5.2) * np.sin(y * 4.2 + np.abs(np.sin(x * 2.6)) * 2)
    elif texture == "denim":
        worn = 0.24 * np.exp(-(((np.abs(x) - 12) / 6) ** 2) - (((y - 55) / 26) ** 2))
        light = np.minimum(0.80 + 0.06 * np.sin((x + y) * 7.0) + 0.04 * np.sin(x * 11) + worn, 1.0)
    elif texture == "leather":
        light = 0.95 + 0.05 * np.sin(x * 3.1 + np.sin(y * 2.3) * 2) * np.sin(y * 3.7)
    else:
        light = 0.96 + 0.04 * np.sin(x * 0.09 + 0.6)
    return light


def _mask(share: Share) -> Image.Image:
    return Image.fromarray((share * np.float32(255)).astype(np.uint8))


def trim_of(colour: Colour) -> Colour:
    """The colour of seams, ribs and cuffs: darker than the fabric, or lighter if the fabric is dark."""
    return darker(colour, 0.32) if luminance(colour) > 70 else lighter(colour, 0.28)


def repeat_for(design: float) -> float:
    """The size of a pattern's repeat, 4.5 to 9 garment units, for `design` from 0 to 1."""
    return 4.5 * math.pow(2.0, min(max(design, 0.0), 1.0))
