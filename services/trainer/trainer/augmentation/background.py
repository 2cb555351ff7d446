"""Backgrounds to put behind garments that were cut out: drawn textures, and corners of other pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from trainer.augmentation.tensors import to_device

Plane = npt.NDArray[np.uint8]
_CPU: Final = torch.device("cpu")
_BANK_SIZE: Final = 192
_CORNER: Final = (0.3, 0.8)  # of a picture's sides
_FLIPS: Final = {(True, False): 0, (False, True): 1, (True, True): -1}  # OpenCV's, by whether turned and mirrored
_MARGIN: Final = 1.5  # a background is larger than the picture, so that a piece of it can be drawn


@dataclass(frozen=True, slots=True)
class BackgroundCrop:
    """What was drawn: a part of a texture of the bank from `top` and `left` on, or a whole `picture`; mirrored or not,
    and turned over or not.
    """

    mirrored: bool
    turned: bool
    texture: int = 0
    top: int = 0
    left: int = 0
    picture: Plane | None = None


class Backgrounds:
    """A bank of drawn textures, the same for the same seed: plain, graded, clouded, striped, checked and grainy. With
    `pictures` (N, H, W, 3) uint8 a `share` of the draws are pieces of these, with whatever they show.
    """

    def __init__(
        self,
        height_px: int,
        width_px: int,
        *,
        seed: int,
        device: torch.device = _CPU,
        pictures: Plane | None = None,
        share: float = 0.0,
    ) -> None:
        self._size = (height_px, width_px)
        self._device = device
        self._pictures = pictures
        self._share = share if pictures is not None and len(pictures) else 0.0
        chance = np.random.default_rng([seed, 77])
        side = (round(height_px * _MARGIN), round(width_px * _MARGIN))
        self._bank = [_texture(*side, chance) for _ in range(_BANK_SIZE)]
        self._there = [torch.from_numpy(one).to(device) for one in self._bank]

    def draw(self, chance: np.random.Generator) -> BackgroundCrop:
        mirrored, turned = (chance.random(2) < 0.5).tolist()
        if self._share and chance.random() < self._share:
            return BackgroundCrop(mirrored, turned, picture=self._corner(chance))
        texture = int(chance.integers(len(self._bank)))
        top, left = (
            int(chance.integers(whole - part + 1))
            for whole, part in zip(self._bank[texture].shape[:2], self._size, strict=True)
        )
        return BackgroundCrop(mirrored, turned, texture, top, left)

    def on_host(self, piece: BackgroundCrop) -> Plane:
        """(H, W, 3) uint8, which may be a part of something larger: not to be written to."""
        plane = self._bank[piece.texture][self._part(piece)] if piece.picture is None else piece.picture
        way = _FLIPS.get((piece.turned, piece.mirrored))
        return plane if way is None else np.asarray(cv2.flip(plane, way), dtype=np.uint8)

    def on_device(self, pieces: Sequence[BackgroundCrop]) -> torch.Tensor:
        """(K, H, W, 3) uint8 on the device."""
        planes = torch.stack(
            [
                self._there[one.texture][self._part(one)]
                if one.picture is None
                else to_device(one.picture, self._device)
                for one in pieces
            ]
        )
        for side, which in ((1, [one.turned for one in pieces]), (2, [one.mirrored for one in pieces])):
            rows = to_device(np.flatnonzero(which), self._device)
            planes[rows] = planes[rows].flip(side)
        return planes

    def _part(self, piece: BackgroundCrop) -> tuple[slice, slice]:
        height, width = self._size
        return slice(piece.top, piece.top + height), slice(piece.left, piece.left + width)

    def _corner(self, chance: np.random.Generator) -> Plane:
        """Of a picture, since what it shows stands in its middle, enlarged to the whole size."""
        assert self._pictures is not None
        picture = np.asarray(self._pictures[int(chance.integers(len(self._pictures)))])
        height, width = self._size
        part = chance.uniform(*_CORNER)
        rows, columns = max(2, round(height * part)), max(2, round(width * part))
        top = 0 if chance.random() < 0.5 else height - rows
        left = 0 if chance.random() < 0.5 else width - columns
        corner = Image.fromarray(picture[top : top + rows, left : left + columns])
        return np.array(corner.resize((width, height), Image.Resampling.BILINEAR))


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
