"""Segmentation masks of the pixel cache, computed once on all cores and then memory-mapped from a file next to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trainer.augmentation.segmentation import foreground_mask, skinless_mask
from trainer.data.pixel_cache import PixelCache
from vitrine.atomic_write import atomic_open
from vitrine.types import Pixels, Rows

_CHUNK: Final = 64
_RULES_VERSION: Final = 2  # part of the cache key: raise it when segmentation changes


@dataclass(frozen=True, slots=True)
class Masks:
    """Masks of some of N images: `found` (M, count, H, W), and for each image its index in `found` or -1, (N,)."""

    found: Pixels
    places: Rows

    def of(self, rows: Rows) -> Pixels:
        """(len(rows), count, H, W). Every image of `rows` must have masks."""
        return self.found[self.places[rows]]


def compute_masks(pixels: Pixels, count: int) -> Masks:
    """Masks of all images (N, H, W, 3): the foreground, and with a `count` of 2 also the garment without skin."""
    found = np.empty((len(pixels), count, *pixels.shape[1:3]), dtype=np.uint8)
    for image, masks in zip(pixels, found, strict=True):
        masks[0] = foreground = foreground_mask(image)
        if count > 1:
            masks[1] = skinless_mask(image, foreground)
    return Masks(found, np.arange(len(pixels), dtype=np.int64))


def cached_masks(cache: PixelCache, rows: Rows, count: int, *, step: Callable[[int, int], None]) -> Masks:
    """The result of `compute_masks` for `rows` of `cache`, read from its file if it exists.

    `step` is called with the images done and their total, and may raise to stop; nothing is kept then. Raises OSError
    if the disk is full.
    """
    rows = np.unique(rows)
    key = hashlib.sha256(f"{_RULES_VERSION} {count}\n".encode() + rows.tobytes()).hexdigest()[:12]
    data = cache.folder / f"{cache.key}-{key}.masks"
    if not data.exists():
        _build(cache.pixels, rows, count, data, step)
    shape = (len(rows), count, *cache.pixels.shape[1:3])
    places = np.full(len(cache.pixels), -1, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return Masks(np.memmap(data, dtype=np.uint8, mode="r", shape=shape), places)


def _build(pixels: Pixels, rows: Rows, count: int, data: Path, step: Callable[[int, int], None]) -> None:
    def compute(part: Rows) -> Pixels:
        return compute_masks(pixels[part], count).found

    done = 0
    # Written with write(), not through a memory map: there a full disk would kill the process instead of raising.
    with atomic_open(data) as file, ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="cut-out") as pool:
        for found in pool.map(compute, np.split(rows, range(_CHUNK, len(rows), _CHUNK))):
            file.write(found.tobytes())
            done += len(found)
            step(done, len(rows))
