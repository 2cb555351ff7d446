"""Cut-outs: a catalogue picture's white background told from its garment, the garment from the person who wears it, and
backgrounds to put in their place. People's own photographs have beds, floors and walls where the catalogue has white,
and nobody in the garment; a network that never saw any takes the one for part of the garment and misses the other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Mask = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.uint8]
_WHITE_FROM: Final = 240
_WHITE_SPREAD: Final = 10  # between the channels: what has a colour is no background
_SEAM_PX: Final = 2  # how far into the garment white may be mixed, by sampling and by JPEG
# Of what is not background: less than this is a seam or a label, more a garment of skin's colour.
_SKIN_SHARE: Final = (0.03, 0.5)
_LEAST_PIECE: Final = 0.25  # of the largest: what is smaller hung on the skin, such as hair and shoes
_BANK_SIZE: Final = 192
_CORNER: Final = (0.3, 0.8)  # of a picture's sides
_MARGIN: Final = 1.5  # a background is larger than the picture, so that a piece of it can be drawn


def garment_mask(pixels: npt.NDArray[np.uint8]) -> Mask:
    """(H, W, 3) uint8 in, (H, W) uint8 out: 255 on the garment, 0 on the white that reaches the border.

    Along the seam it is how much of the pixel is garment: how far it is from white, beside the farthest near it. Where
    this share is left out, no white rim gives the cut-out away. White inside the garment stays garment; a white garment
    that melts into the border loses its edge.
    """
    darkest, lightest = pixels.min(axis=2), pixels.max(axis=2)
    white = (darkest >= _WHITE_FROM) & (lightest - darkest <= _WHITE_SPREAD)
    regions, count = ndimage.label(white)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    reaching = np.zeros(count + 1, dtype=bool)
    reaching[np.unique(edge)] = True
    reaching[0] = False
    outside = reaching[regions]
    colour = 255 - darkest
    fullest = ndimage.maximum_filter(colour, size=2 * _SEAM_PX + 1)
    share = np.rint(255.0 * colour / np.maximum(fullest, 1)).astype(np.uint8)
    seam = ndimage.binary_dilation(outside, iterations=_SEAM_PX)
    garment: Mask = np.where(outside, np.uint8(0), np.where(seam, share, np.uint8(255)))
    return garment


def bare_mask(pixels: npt.NDArray[np.uint8], garment: Mask) -> Mask:
    """(H, W, 3) uint8 and its `garment_mask` in, the mask without skin and what hung on it out.

    Where nothing looks like skin, or too much does for a garment to be left, it is the mask as it was. Skin is told by
    its chrominance, after Chai and Ngan, "Face Segmentation Using Skin-Color Map in Videophone Applications", IEEE
    Transactions on Circuits and Systems for Video Technology, 1999.
    """
    inside = garment > 127
    skin = ndimage.binary_opening(_skin_coloured(pixels) & inside)
    share = skin.sum() / max(1, inside.sum())
    if not _SKIN_SHARE[0] <= share <= _SKIN_SHARE[1]:
        return garment
    left = inside & ~ndimage.binary_dilation(skin)
    pieces, count = ndimage.label(left)
    if not count:
        return garment
    sizes = np.bincount(pieces.reshape(-1))
    sizes[0] = 0
    kept = (sizes >= _LEAST_PIECE * sizes.max())[pieces] & left
    bare: Mask = ndimage.uniform_filter(np.where(kept, 255, 0).astype(np.uint8), size=3)
    return np.minimum(bare, garment)


def _skin_coloured(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(H, W): where the two colour differences of BT.601, Cb and Cr, lie within those of skin."""
    red, green, blue = (pixels[..., channel].astype(np.float32) for channel in range(3))
    blueness = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    redness = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    warm = (red > 60) & (red > green) & (green > 0.9 * blue)
    coloured: npt.NDArray[np.bool_] = (blueness > 85) & (blueness < 126) & (redness > 137) & (redness < 172) & warm
    return coloured


class Backgrounds:
    """A bank of drawn textures, the same for the same seed: plain, graded, clouded, striped, checked and grainy. With
    `pictures` (N, H, W, 3) uint8 a `share` of the draws are pieces of these, with whatever they show.
    """

    def __init__(
        self, height_px: int, width_px: int, *, seed: int, pictures: Plane | None = None, share: float = 0.0
    ) -> None:
        self._size = (height_px, width_px)
        self._pictures = pictures
        self._share = share if pictures is not None and len(pictures) else 0.0
        chance = np.random.default_rng([seed, 77])
        side = (round(height_px * _MARGIN), round(width_px * _MARGIN))
        self._bank = [_texture(*side, chance) for _ in range(_BANK_SIZE)]

    def draw(self, chance: np.random.Generator) -> Plane:
        """A piece of one of them, (H, W, 3) uint8, turned or mirrored by chance."""
        if self._share and chance.random() < self._share:
            return self._piece(chance)
        texture = self._bank[int(chance.integers(len(self._bank)))]
        height, width = self._size
        top = int(chance.integers(texture.shape[0] - height + 1))
        left = int(chance.integers(texture.shape[1] - width + 1))
        piece = texture[top : top + height, left : left + width]
        if chance.random() < 0.5:
            piece = piece[:, ::-1]
        return piece[::-1] if chance.random() < 0.5 else piece

    def _piece(self, chance: np.random.Generator) -> Plane:
        """A corner of a picture, since what it shows stands in its middle, enlarged to the whole size."""
        assert self._pictures is not None
        picture = np.asarray(self._pictures[int(chance.integers(len(self._pictures)))])
        height, width = self._size
        part = chance.uniform(*_CORNER)
        rows, columns = max(2, round(height * part)), max(2, round(width * part))
        top = 0 if chance.random() < 0.5 else height - rows
        left = 0 if chance.random() < 0.5 else width - columns
        corner = Image.fromarray(picture[top : top + rows, left : left + columns])
        piece: Plane = np.asarray(corner.resize((width, height), Image.Resampling.BILINEAR))
        return piece[:, ::-1] if chance.random() < 0.5 else piece


def _texture(height: int, width: int, chance: np.random.Generator) -> Plane:
    base = _colour(chance)
    other = np.clip(base + chance.normal(0, 40, 3), 0, 255)
    share = _pattern(height, width, chance)[..., None]
    picture = base * (1 - share) + other * share
    picture += _clouds(height, width, chance)[..., None] * chance.uniform(0, 50)
    picture += chance.normal(0, 1, (height, width, 1)) * chance.uniform(0, 14)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _colour(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Mostly the greys, browns and whites of rooms, sometimes any colour."""
    if chance.random() < 0.25:
        return chance.uniform(0, 255, 3)
    warm = chance.uniform(-0.12, 0.3)
    return chance.uniform(40, 250) * np.array([1.0, 1 - 0.35 * max(warm, 0), 1 - warm])


def _pattern(height: int, width: int, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """A field of 0..1: how much of the second colour is where."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float64)
    angle = chance.uniform(0, np.pi)
    along = np.cos(angle) * across + np.sin(angle) * down
    crosswise = np.cos(angle) * down - np.sin(angle) * across
    kind = chance.integers(5)
    period = chance.uniform(4, 40)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * along / period + 2 * _clouds(height, width, chance))
    field: npt.NDArray[np.float64]
    if kind == 0:
        field = np.full((height, width), chance.random())
    elif kind == 1:
        field = (along - along.min()) / np.ptp(along)
    elif kind == 2:  # boards and ribs
        field = wave ** chance.uniform(0.5, 4)
    elif kind == 3:  # weaves and tiles
        field = wave * (0.5 + 0.5 * np.sin(2 * np.pi * crosswise / period))
    else:
        field = np.clip(_clouds(height, width, chance) + 0.5, 0, 1)
    return field


def _clouds(height: int, width: int, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Smooth chance around 0, mostly within -1..1: the sum of noises of several sizes."""
    total = np.zeros((height, width))
    for octave in range(4):
        cells = 2 ** (octave + 1)
        noise = Image.fromarray(chance.normal(0, 1, (cells, cells)).astype(np.float32))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    return total / 2
