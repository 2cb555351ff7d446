"""The cut-outs of decoded pictures, kept beside them: each is found once, over all cores, and mapped into memory from
then on, so that the first epoch goes as fast as every other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from trainer.augmentation.segmentation import foreground_mask, skinless_mask
from trainer.data.dataset import Rows
from trainer.data.pixel_cache import PixelCache
from vitrine.atomic_write import atomic_open
from vitrine.types import Pixels

_CHUNK: Final = 64
_RULES_VERSION: Final = 2  # of finding them: another number, and those kept are not used


@dataclass(frozen=True, slots=True)
class Masks:
    """`found` (M, count, H, W) uint8, and for each of N pictures its `places` (N,) among them, -1 where it has none."""

    found: npt.NDArray[np.uint8]
    places: Rows

    def of(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Those of the pictures at `rows`, which all have one."""
        return self.found[self.places[rows]]


def compute_masks(pixels: Pixels, count: int) -> Masks:
    """Of all pictures (N, H, W, 3) uint8: the garment with whoever wears it and, for a `count` of 2, without."""
    found = np.empty((len(pixels), count, *pixels.shape[1:3]), dtype=np.uint8)
    for picture, masks in zip(pixels, found, strict=True):
        masks[0] = garment = foreground_mask(picture)
        if count > 1:
            masks[1] = skinless_mask(picture, garment)
    return Masks(found, np.arange(len(pixels), dtype=np.int64))


def cached_masks(cache: PixelCache, rows: Rows, count: int, *, step: Callable[[int, int], None]) -> Masks:
    """The masks of the pictures at `rows` of `cache`, read from their file next to the pixels if there is one.

    `step` is told how many are done, of how many, and may raise to stop; what was found until then is dropped. Raises
    OSError where the disk is full.
    """
    rows = np.unique(rows)
    wanted = hashlib.sha256(f"{_RULES_VERSION} {count}\n".encode() + rows.tobytes()).hexdigest()[:12]
    data = cache.folder / f"{cache.key}-{wanted}.masks"
    if not data.exists():
        _build(cache.pixels, rows, count, data, step)
    shape = (len(rows), count, *cache.pixels.shape[1:3])
    places = np.full(len(cache.pixels), -1, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    return Masks(np.memmap(data, dtype=np.uint8, mode="r", shape=shape), places)


def _build(pixels: Pixels, rows: Rows, count: int, data: Path, step: Callable[[int, int], None]) -> None:
    def find(part: Rows) -> npt.NDArray[np.uint8]:
        return compute_masks(pixels[part], count).found

    done = 0
    # Written, not mapped: a full disk is an error of a write and the death of a process that wrote to a map.
    with atomic_open(data) as file, ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="cut-out") as pool:
        for found in pool.map(find, np.split(rows, range(_CHUNK, len(rows), _CHUNK))):
            file.write(found.tobytes())
            done += len(found)
            step(done, len(rows))
