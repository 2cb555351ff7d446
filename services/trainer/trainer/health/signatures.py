"""Small copies of pictures, by which it is decided whether two show the same.

A picture is copied as a whole and without its plain border, so that another margin makes no difference. Brightness is
compared in 32 x 32 places, colour in 16 x 16. What is left after another size and another quality is a few per cent of
the picture's contrast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.images.checks import ImageLimits
from vitrine.images.decode import decode_image
from vitrine.types import Flags, Pixels, Values

Oddity = Literal["blank", "greyscale"]

_SIDE: Final = 32
_BLOCKS: Final = 8
_COLOURS: Final = 16
_BORDER_TOLERANCE: Final = 32
_DECODED_PX: Final = 96
_COPY_PX: Final = 256
_FILLED: Final = 0.03  # of a row or column that is no border
_BLANK_CONTRAST: Final = 4.0
_GREY_DIFFERENCE: Final = 2  # a colour photograph of something black has tints
# The mean difference in the worst of 8 x 8 blocks as a share of the contrast; the difference of colours in levels.
SAME_SHARE: Final = 0.2
_SAME_COLOUR: Final = 20.0
_LEAST_CONTRAST: Final = 12.0
_PAIRS: Final = 2_048
# A mirrored copy must fit clearly better than the picture as it is: many garments are symmetric.
_MIRRORED_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Signature:
    """`grey` (2, 32, 32) and `colours` (2, 16, 16, 3) uint8: of the whole picture and of what is inside its border."""

    grey: Pixels
    colours: Pixels
    oddity: Oddity | None


class Signatures:
    """N pictures to compare."""

    def __init__(self, pictures: Sequence[Signature]) -> None:
        shape = (len(pictures), 2)
        grey = [one.grey for one in pictures]
        colours = [one.colours for one in pictures]
        self._grey = np.stack(grey) if grey else np.empty((*shape, _SIDE, _SIDE), np.uint8)
        self._colours = np.stack(colours) if colours else np.empty((*shape, _COLOURS, _COLOURS, 3), np.uint8)
        contrast = self._grey.astype(np.float32).std(axis=(2, 3))
        self._contrast: npt.NDArray[np.float32] = np.maximum(contrast, _LEAST_CONTRAST)

    def differences(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> tuple[Values, Flags]:
        """How unlike the pictures `first` (P,) and `second` (P,) are: from 0 (the same) on, SAME_SHARE is the most that
        counts as the same; and whether the one is the other in a mirror.
        """
        found, mirrored = np.empty(len(first)), np.empty(len(first), dtype=np.bool_)
        for start in range(0, len(first), _PAIRS):
            part = slice(start, start + _PAIRS)
            direct = self._compared(first[part], second[part], flipped=False)
            turned = self._compared(first[part], second[part], flipped=True)
            mirrored[part] = turned < _MIRRORED_SHARE * direct
            found[part] = np.where(mirrored[part], turned, direct)
        return found, mirrored

    def _compared(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], *, flipped: bool) -> Values:
        step = -1 if flipped else 1
        grey = np.abs(self._grey[first].astype(np.int16) - self._grey[second][..., ::step].astype(np.int16))
        size = _SIDE // _BLOCKS
        blocks = grey.reshape(len(first), 2, _BLOCKS, size, _BLOCKS, size).mean(axis=(3, 5)).max(axis=(2, 3))
        share = blocks / np.minimum(self._contrast[first], self._contrast[second])
        other = self._colours[second][..., ::step, :].astype(np.int16)
        colour = np.abs(self._colours[first].astype(np.int16) - other).max(axis=(2, 3, 4))
        # Both must fit; the border may be cut off or not.
        worst: Values = np.maximum(share, SAME_SHARE * colour / _SAME_COLOUR).min(axis=1).astype(np.float64)
        return worst


def signature(data: bytes, limits: ImageLimits) -> Signature:
    """The signature of a picture file. Raises ImageRejected."""
    image = decode_image(data, target_px=_DECODED_PX, limits=limits)
    # In a small copy, noise around the garment is no part of it.
    image.thumbnail((_COPY_PX, _COPY_PX), Image.Resampling.BOX)
    inside = _without_border(image)
    return Signature(
        np.stack([_grey(image), _grey(inside)]), np.stack([_colours(image), _colours(inside)]), _oddity(image)
    )


def _grey(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("L"))


def _colours(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((_COLOURS, _COLOURS), Image.Resampling.BOX))


def _without_border(image: Image.Image) -> Image.Image:
    """The part inside a border of one colour; the whole picture if it has none, or is nothing but border."""
    pixels = np.asarray(image).astype(np.int16)
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    border = np.median(corners, axis=0)
    if np.abs(corners - border).max() > _BORDER_TOLERANCE:
        return image
    differs = np.abs(pixels - border).max(axis=2) > _BORDER_TOLERANCE
    rows = np.flatnonzero(differs.mean(axis=1) > _FILLED)
    columns = np.flatnonzero(differs.mean(axis=0) > _FILLED)
    if len(rows) < _BLOCKS or len(columns) < _BLOCKS:
        return image
    return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _oddity(image: Image.Image) -> Oddity | None:
    small = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX)).astype(np.int16)
    if small.reshape(-1, 3).std(axis=0).max() < _BLANK_CONTRAST:
        return "blank"
    return "greyscale" if (small.max(axis=2) - small.min(axis=2)).max() <= _GREY_DIFFERENCE else None
