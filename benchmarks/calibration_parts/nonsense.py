"""Pictures that show no garment, of other kinds than those that a release has learned to tell: blotches, stripes,
shapes, rings and haze.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from trainer.evaluation.nothing import Chance, Kind, colour, drawn, noise


def nonsense(count: int, *, seed: int = 0) -> list[Image.Image]:
    """`count` RGB pictures between 96 and 320 pixels a side, the kinds in turn."""
    return drawn(_KINDS, count, seed=seed)


def _blotches(chance: Chance, size: tuple[int, int]) -> Image.Image:
    coarse = chance.integers(0, 256, size=(*chance.integers(3, 12, size=2), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _stripes(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, colour(chance))
    brush, step, ink = ImageDraw.Draw(picture), int(chance.integers(6, 30)), colour(chance)
    lean = int(chance.integers(-size[1], size[1]))
    for left in range(-abs(lean), size[0] + abs(lean), 2 * step):
        brush.line((left, 0, left + lean, size[1]), fill=ink, width=step)
    return picture


def _shapes(chance: Chance, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, colour(chance))
    brush = ImageDraw.Draw(picture)
    for _ in range(int(chance.integers(3, 14))):
        (left, right), (top, bottom) = (sorted(chance.integers(0, side, size=2).tolist()) for side in size)
        draw = brush.ellipse if chance.random() < 0.5 else brush.rectangle
        draw((left, top, right + 1, bottom + 1), fill=colour(chance))
    return picture


def _rings(chance: Chance, size: tuple[int, int]) -> Image.Image:
    rows, columns = np.mgrid[: size[1], : size[0]]
    far = np.hypot(rows - chance.random() * size[1], columns - chance.random() * size[0])
    wave = np.sin(far / chance.uniform(2, 15))[..., None] * 0.5 + 0.5
    inks = np.array([colour(chance), colour(chance)])
    return Image.fromarray((wave * inks[0] + (1 - wave) * inks[1]).astype(np.uint8))


def _haze(chance: Chance, size: tuple[int, int]) -> Image.Image:
    return noise(chance, size).filter(ImageFilter.GaussianBlur(float(chance.uniform(1, 6))))


_KINDS: Final[tuple[Kind, ...]] = (_blotches, _stripes, _shapes, _rings, _haze)
