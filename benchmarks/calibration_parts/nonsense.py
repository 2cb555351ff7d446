"""Pictures that show no garment: noise, patterns and drawn shapes, each of them different and all of them the same on
every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_SIDE_PX: Final = (96, 320)
Chance = np.random.Generator


def nonsense(count: int, *, seed: int = 0) -> list[Image.Image]:
    """`count` RGB pictures between 96 and 320 pixels a side, the kinds in turn."""
    chance = np.random.default_rng(seed)
    return [_KINDS[at % len(_KINDS)](chance, _size(chance)) for at in range(count)]


def _size(chance: Chance) -> tuple[int, int]:
    width, height = chance.integers(*_SIDE_PX, size=2)
    return int(width), int(height)


def _colour(chance: Chance) -> tuple[int, int, int]:
    red, green, blue = chance.integers(0, 256, size=3)
    return int(red), int(green), int(blue)


def _noise(chance: Chance, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(chance.integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8))


def _blotches(chance: Chance, size: tuple[int, int]) -> Image.Image:
    coarse = chance.integers(0, 256, size=(*chance.integers(3, 12, size=2), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _slope(chance: Chance, size: tuple[int, int]) -> Image.Image:
    corners = np.array([[_colour(chance), _colour(chance)], [_colour(chance), _colour(chance)]], dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)


def _stripes(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, _colour(chance))
    brush, step, ink = ImageDraw.Draw(picture), int(chance.integers(6, 30)), _colour(chance)
    lean = int(chance.integers(-size[1], size[1]))
    for left in range(-abs(lean), size[0] + abs(lean), 2 * step):
        brush.line((left, 0, left + lean, size[1]), fill=ink, width=step)
    return picture


def _checks(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture, step, ink = Image.new("RGB", size, _colour(chance)), int(chance.integers(8, 40)), _colour(chance)
    brush = ImageDraw.Draw(picture)
    for top in range(0, size[1], step):
        for left in range(step * (top // step % 2), size[0], 2 * step):
            brush.rectangle((left, top, left + step - 1, top + step - 1), fill=ink)
    return picture


def _shapes(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, _colour(chance))
    brush = ImageDraw.Draw(picture)
    for _ in range(int(chance.integers(3, 14))):
        (left, right), (top, bottom) = (sorted(chance.integers(0, side, size=2).tolist()) for side in size)
        draw = brush.ellipse if chance.random() < 0.5 else brush.rectangle
        draw((left, top, right + 1, bottom + 1), fill=_colour(chance))
    return picture


def _scribble(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    points = [(int(x), int(y)) for x, y in chance.random((int(chance.integers(5, 40)), 2)) * size]
    ImageDraw.Draw(picture).line(points, fill=_colour(chance), width=int(chance.integers(1, 7)))
    return picture


def _rings(chance: Chance, size: tuple[int, int]) -> Image.Image:
    rows, columns = np.mgrid[: size[1], : size[0]]
    far = np.hypot(rows - chance.random() * size[1], columns - chance.random() * size[0])
    wave = np.sin(far / chance.uniform(2, 15))[..., None] * 0.5 + 0.5
    inks = np.array([_colour(chance), _colour(chance)])
    return Image.fromarray((wave * inks[0] + (1 - wave) * inks[1]).astype(np.uint8))


def _words(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (250, 250, 245))
    brush = ImageDraw.Draw(picture)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    for top in range(6, size[1], 14):
        brush.text((6, top), "".join(chance.choice(letters, size=60)), fill=(40, 40, 40))
    return picture


def _haze(chance: Chance, size: tuple[int, int]) -> Image.Image:
    return _noise(chance, size).filter(ImageFilter.GaussianBlur(float(chance.uniform(1, 6))))


_KINDS: Final[tuple[Callable[[Chance, tuple[int, int]], Image.Image], ...]] = (
    _noise, _blotches, _slope, _stripes, _checks, _shapes, _scribble, _rings, _words, _haze,
)  # fmt: skip
