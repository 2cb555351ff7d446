"""Drawn pictures that show nothing a shop could sell: what a release learns to tell from its catalogue's. Each is
different, and all of them are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

_SIDE_PX: Final = (96, 320)
Chance = np.random.Generator
Kind = Callable[[Chance, tuple[int, int]], Image.Image]


def pictures_of_nothing(count: int, *, seed: int = 0) -> list[Image.Image]:
    """`count` RGB pictures between 96 and 320 pixels a side, the kinds in turn."""
    return drawn(KINDS, count, seed=seed)


def drawn(kinds: Sequence[Kind], count: int, *, seed: int) -> list[Image.Image]:
    """`count` RGB pictures of these kinds in turn."""
    chance = np.random.default_rng(seed)
    return [kinds[at % len(kinds)](chance, _size(chance)) for at in range(count)]


def _size(chance: Chance) -> tuple[int, int]:
    width, height = chance.integers(*_SIDE_PX, size=2)
    return int(width), int(height)


def colour(chance: Chance) -> tuple[int, int, int]:
    """Any colour."""
    red, green, blue = chance.integers(0, 256, size=3)
    return int(red), int(green), int(blue)


def noise(chance: Chance, size: tuple[int, int]) -> Image.Image:
    """Every pixel a colour of its own."""
    return Image.fromarray(chance.integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8))


def _slope(chance: Chance, size: tuple[int, int]) -> Image.Image:
    corners = np.array([[colour(chance), colour(chance)], [colour(chance), colour(chance)]], dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)


def _checks(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture, step, ink = Image.new("RGB", size, colour(chance)), int(chance.integers(8, 40)), colour(chance)
    brush = ImageDraw.Draw(picture)
    for top in range(0, size[1], step):
        for left in range(step * (top // step % 2), size[0], 2 * step):
            brush.rectangle((left, top, left + step - 1, top + step - 1), fill=ink)
    return picture


def _scribble(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    points = [(int(x), int(y)) for x, y in chance.random((int(chance.integers(5, 40)), 2)) * size]
    ImageDraw.Draw(picture).line(points, fill=colour(chance), width=int(chance.integers(1, 7)))
    return picture


def _words(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (250, 250, 245))
    brush = ImageDraw.Draw(picture)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    for top in range(6, size[1], 14):
        brush.text((6, top), "".join(chance.choice(letters, size=60)), fill=(40, 40, 40))
    return picture


def _dots(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    brush = ImageDraw.Draw(picture)
    for _ in range(int(chance.integers(10, 120))):
        left, top = (float(at) for at in chance.random(2) * size)
        across = float(chance.uniform(2, 24))
        brush.ellipse((left, top, left + across, top + across), fill=colour(chance))
    return picture


def _bars(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    brush, left = ImageDraw.Draw(picture), int(chance.integers(4, 20))
    top, bottom = size[1] // 5, size[1] * 4 // 5
    while left < size[0] - 4:
        wide = int(chance.integers(1, 7))
        brush.rectangle((left, top, left + wide, bottom), fill=(20, 20, 20))
        left += wide + int(chance.integers(2, 8))
    return picture


def _landscape(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, colour(chance))
    brush = ImageDraw.Draw(picture)
    for layer in range(1, int(chance.integers(3, 6))):
        crests = size[1] * (0.25 + 0.15 * layer) + chance.normal(0, size[1] / 12, size=8)
        ridge = [(float(x), float(y)) for x, y in zip(np.linspace(0, size[0], 8), crests, strict=True)]
        brush.polygon([*ridge, (size[0], size[1]), (0, size[1])], fill=colour(chance))
    return picture


KINDS: Final[tuple[Kind, ...]] = (noise, _slope, _checks, _scribble, _words, _dots, _bars, _landscape)
