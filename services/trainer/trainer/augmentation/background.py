"""Backgrounds for cut-out garments: procedural textures, and corners of other images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from PIL import Image

from trainer.augmentation.tensors import to_device
from vitrine.types import Pixels, Values

_CPU: Final = torch.device("cpu")
_BANK_SIZE: Final = 192
_CORNER_SHARE: Final = (0.3, 0.8)  # of the sides of an image
_FLIPS: Final = {(True, False): 0, (False, True): 1, (True, True): -1}  # OpenCV's codes by (flipped, mirrored)
_TEXTURE_SCALE: Final = 1.5  # textures are larger than the images, so that crops of them differ


@dataclass(frozen=True, slots=True)
class BackgroundCrop:
    """A crop of a texture of the bank at `top` and `left`, or, if given, the pixels of `image` (H, W, 3).

    `mirrored` flips it left to right, `flipped` upside down.
    """

    mirrored: bool
    flipped: bool
    texture: int = 0
    top: int = 0
    left: int = 0
    image: Pixels | None = None


class Backgrounds:
    """A bank of textures that depends on `seed` only: plain, gradient, cloudy, striped, checked, all with grain.

    With `images` (N, H, W, 3) uint8, a `share` of the draws are corners of them.
    """

    def __init__(
        self,
        height_px: int,
        width_px: int,
        *,
        seed: int,
        device: torch.device = _CPU,
        images: Pixels | None = None,
        share: float = 0.0,
    ) -> None:
        self._size = (height_px, width_px)
        self._device = device
        self._images = images
        self._share = share if images is not None and len(images) else 0.0
        random = np.random.default_rng([seed, 77])
        side = (round(height_px * _TEXTURE_SCALE), round(width_px * _TEXTURE_SCALE))
        self._bank = [_texture(*side, random) for _ in range(_BANK_SIZE)]
        self._device_bank = [torch.from_numpy(texture).to(device) for texture in self._bank]

    def draw(self, random: np.random.Generator) -> BackgroundCrop:
        mirrored, flipped = (random.random(2) < 0.5).tolist()
        if self._share and random.random() < self._share:
            return BackgroundCrop(mirrored, flipped, image=self._corner(random))
        texture = int(random.integers(len(self._bank)))
        top, left = (
            int(random.integers(length - side + 1))
            for length, side in zip(self._bank[texture].shape[:2], self._size, strict=True)
        )
        return BackgroundCrop(mirrored, flipped, texture, top, left)

    def crop(self, drawn: BackgroundCrop) -> Pixels:
        """(H, W, 3) uint8. It may be a view of the bank: do not write to it."""
        pixels = self._bank[drawn.texture][self._slices(drawn)] if drawn.image is None else drawn.image
        flip = _FLIPS.get((drawn.flipped, drawn.mirrored))
        return pixels if flip is None else np.asarray(cv2.flip(pixels, flip), dtype=np.uint8)

    def crop_batch(self, drawn: Sequence[BackgroundCrop]) -> torch.Tensor:
        """(K, H, W, 3) uint8 on the device."""
        pixels = torch.stack([self._device_crop(one) for one in drawn])
        for dim, flips in ((1, [one.flipped for one in drawn]), (2, [one.mirrored for one in drawn])):
            rows = to_device(np.flatnonzero(flips), self._device)
            pixels[rows] = pixels[rows].flip(dim)
        return pixels

    def _device_crop(self, drawn: BackgroundCrop) -> torch.Tensor:
        if drawn.image is not None:
            return to_device(drawn.image, self._device)
        return self._device_bank[drawn.texture][self._slices(drawn)]

    def _slices(self, drawn: BackgroundCrop) -> tuple[slice, slice]:
        height, width = self._size
        return slice(drawn.top, drawn.top + height), slice(drawn.left, drawn.left + width)

    def _corner(self, random: np.random.Generator) -> Pixels:
        """A corner of an image, because its subject is in the middle, resized to the full size."""
        assert self._images is not None
        image = np.asarray(self._images[int(random.integers(len(self._images)))])
        height, width = self._size
        share = random.uniform(*_CORNER_SHARE)
        rows, columns = max(2, round(height * share)), max(2, round(width * share))
        top = 0 if random.random() < 0.5 else height - rows
        left = 0 if random.random() < 0.5 else width - columns
        corner = Image.fromarray(image[top : top + rows, left : left + columns])
        return np.array(corner.resize((width, height), Image.Resampling.BILINEAR))


def _texture(height: int, width: int, random: np.random.Generator) -> Pixels:
    base = _base_color(random)
    other = np.clip(base + random.normal(0, 40, 3), 0, 255)
    share = _pattern(height, width, random)[..., None]
    image = base * (1 - share) + other * share
    image += _clouds(height, width, random)[..., None] * random.uniform(0, 50)
    image += random.normal(0, 1, (height, width, 1)) * random.uniform(0, 14)
    return np.clip(image, 0, 255).astype(np.uint8)


def _base_color(random: np.random.Generator) -> Values:
    """Mostly the grays, browns and whites of rooms, sometimes any color (3,) in 0..255."""
    if random.random() < 0.25:
        return random.uniform(0, 255, 3)
    warm = random.uniform(-0.12, 0.3)
    return random.uniform(40, 250) * np.array([1.0, 1 - 0.35 * max(warm, 0), 1 - warm])


def _pattern(height: int, width: int, random: np.random.Generator) -> Values:
    """(H, W) in 0..1: the share of the second color."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    angle = random.uniform(0, np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    kind = random.integers(5)
    period = random.uniform(4, 40)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * along / period + 2 * _clouds(height, width, random))
    field: Values
    if kind == 0:
        field = np.full((height, width), random.random())
    elif kind == 1:
        field = (along - along.min()) / np.ptp(along)
    elif kind == 2:  # stripes
        field = wave ** random.uniform(0.5, 4)
    elif kind == 3:  # checks
        field = wave * (0.5 + 0.5 * np.sin(2 * np.pi * across / period))
    else:
        field = np.clip(_clouds(height, width, random) + 0.5, 0, 1)
    return field


def _clouds(height: int, width: int, random: np.random.Generator) -> Values:
    """Smooth noise (H, W) around 0, mostly in -1..1: a sum of octaves."""
    total = np.zeros((height, width))
    for octave in range(4):
        cells = 2 ** (octave + 1)
        noise = Image.fromarray(random.normal(0, 1, (cells, cells)).astype(np.float32))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC)) / 2**octave
    return total / 2
