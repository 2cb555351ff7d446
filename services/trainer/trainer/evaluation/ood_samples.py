"""Out-of-distribution samples: drawn pictures that show no product. Each is different, and they are the same on every
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

_SIDE_PX: Final = (96, 320)
Kind = Callable[[np.random.Generator, tuple[int, int]], Image.Image]


def ood_samples(count: int, *, seed: int = 0) -> list[Image.Image]:
    """`count` RGB pictures with sides of 96 to 320 pixels, of all kinds in turn."""
    return draw_samples(KINDS, count, seed=seed)


def draw_samples(kinds: Sequence[Kind], count: int, *, seed: int) -> list[Image.Image]:
    """`count` RGB pictures of these kinds in turn."""
    random = np.random.default_rng(seed)
    return [kinds[at % len(kinds)](random, _size(random)) for at in range(count)]


def _size(random: np.random.Generator) -> tuple[int, int]:
    width, height = random.integers(*_SIDE_PX, size=2)
    return int(width), int(height)


def color(random: np.random.Generator) -> tuple[int, int, int]:
    """A random color."""
    red, green, blue = random.integers(0, 256, size=3)
    return int(red), int(green), int(blue)


def noise(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A random color for every pixel."""
    return Image.fromarray(random.integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8))


def _gradient(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    corners = np.array([[color(random), color(random)], [color(random), color(random)]], dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)


def _checks(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture, step, ink = Image.new("RGB", size, color(random)), int(random.integers(8, 40)), color(random)
    draw = ImageDraw.Draw(picture)
    for top in range(0, size[1], step):
        for left in range(step * (top // step % 2), size[0], 2 * step):
            draw.rectangle((left, top, left + step - 1, top + step - 1), fill=ink)
    return picture


def _scribble(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    points = [(int(x), int(y)) for x, y in random.random((int(random.integers(5, 40)), 2)) * size]
    ImageDraw.Draw(picture).line(points, fill=color(random), width=int(random.integers(1, 7)))
    return picture


def _words(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (250, 250, 245))
    draw = ImageDraw.Draw(picture)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    for top in range(6, size[1], 14):
        draw.text((6, top), "".join(random.choice(letters, size=60)), fill=(40, 40, 40))
    return picture


def _dots(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(10, 120))):
        left, top = (float(at) for at in random.random(2) * size)
        across = float(random.uniform(2, 24))
        draw.ellipse((left, top, left + across, top + across), fill=color(random))
    return picture


def _bars(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, (255, 255, 255))
    draw, left = ImageDraw.Draw(picture), int(random.integers(4, 20))
    top, bottom = size[1] // 5, size[1] * 4 // 5
    while left < size[0] - 4:
        wide = int(random.integers(1, 7))
        draw.rectangle((left, top, left + wide, bottom), fill=(20, 20, 20))
        left += wide + int(random.integers(2, 8))
    return picture


def _landscape(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, color(random))
    draw = ImageDraw.Draw(picture)
    for layer in range(1, int(random.integers(3, 6))):
        crests = size[1] * (0.25 + 0.15 * layer) + random.normal(0, size[1] / 12, size=8)
        ridge = [(float(x), float(y)) for x, y in zip(np.linspace(0, size[0], 8), crests, strict=True)]
        draw.polygon([*ridge, (size[0], size[1]), (0, size[1])], fill=color(random))
    return picture


KINDS: Final[tuple[Kind, ...]] = (noise, _gradient, _checks, _scribble, _words, _dots, _bars, _landscape)
