"""Colors of street garments in the words of the catalogue, which their labels lack.

The catalogue shows what a color word means: the word's color is the median of its garments' medians in CIELAB.
A street garment gets the word nearest to its own median.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from trainer.augmentation.segmentation import foreground_mask
from trainer.data.dataset import UNKNOWN
from trainer.data.street import StreetGarment
from trainer.seeds import STREET_COLORS, generator
from vitrine.types import Codes, Pixels, Rows, Values

_PICTURES_OF_A_WORD: Final = 60
_LEAST_PICTURES: Final = 10
_LEAST_PX: Final = 20
# Light on a street changes the lightness of a garment more than its hue.
_LIGHTNESS_WEIGHT: Final = 0.5


def street_colors(garments: list[StreetGarment], pixels: Pixels, codes: Codes, train: Rows) -> Codes:
    """The color code (S,) of each garment, UNKNOWN if the catalogue does not show what its words mean.

    `pixels` (N, H, W, 3) uint8 and the color `codes` (N,) are those of the catalogue; only rows of `train` are used.
    """
    random = generator(STREET_COLORS)
    words, meanings = [], []
    for code in np.unique(codes[train]):
        rows = train[codes[train] == code]
        if code == UNKNOWN or len(rows) < _LEAST_PICTURES:
            continue
        shown = [pixels[row] for row in random.permutation(rows)[:_PICTURES_OF_A_WORD]]
        medians = [_median_color(image, foreground_mask(image)) for image in shown]
        known = [median for median in medians if median is not None]
        if len(known) >= _LEAST_PICTURES:
            words.append(int(code))
            meanings.append(np.median(known, axis=0))
    if len(words) < 2:
        return np.full(len(garments), UNKNOWN, dtype=np.int64)
    return np.array([_nearest(garment, words, np.stack(meanings)) for garment in garments], dtype=np.int64)


def _nearest(garment: StreetGarment, words: list[int], meanings: Values) -> int:
    color = _median_color(garment.pixels, garment.mask * np.uint8(255))
    return UNKNOWN if color is None else words[int(np.linalg.norm(meanings - color, axis=1).argmin())]


def _median_color(pixels: Pixels, mask: Pixels) -> Values | None:
    """(3,): weighted lightness, a and b of the median pixel inside the mask; None if the garment is too small."""
    inside = pixels[mask > 127]
    if len(inside) < _LEAST_PX:
        return None
    median = np.median(inside, axis=0).astype(np.float32)[None, None] / 255
    lightness, a, b = cv2.cvtColor(median, cv2.COLOR_RGB2LAB)[0, 0].tolist()
    return np.array([_LIGHTNESS_WEIGHT * lightness, a, b])
