"""The cut-outs of decoded pictures, kept beside them: each is found once, over all cores, and mapped into memory from
then on, so that the first epoch goes as fast as every other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.training.cutouts import bare_mask, garment_mask
from trainer.training.examples import Rows
from trainer.training.pixels import PixelCache, Pixels

Masks = npt.NDArray[np.uint8]
_CHUNK: Final = 64
_RULES_VERSION: Final = 1  # of finding them: another number, and those kept are not used


def find_masks(pixels: Pixels, count: int) -> Masks:
    """(N, H, W, 3) uint8 in, (N, count, H, W) uint8 out: the garment with whoever wears it and, for a `count` of 2,
    without.
    """
    masks = np.empty((len(pixels), count, *pixels.shape[1:3]), dtype=np.uint8)
    for picture, found in zip(pixels, masks, strict=True):
        found[0] = garment = garment_mask(picture)
        if count > 1:
            found[1] = bare_mask(picture, garment)
    return masks


def cached_masks(cache: PixelCache, rows: Rows, count: int, *, folder: Path, step: Callable[[int, int], None]) -> Masks:
    """(N, count, H, W) uint8, a row for each picture of `cache`, of which those at `rows` are found and others are 0.

    They come from their file below `folder` where there is one. `step` is told how many are done, of how many, and may
    raise to stop; what was found until then is dropped.
    """
    wanted = hashlib.sha256(f"{_RULES_VERSION} {count}\n".encode() + np.sort(rows).tobytes()).hexdigest()[:12]
    data = folder / f"{cache.key}-{wanted}.masks"
    shape = (len(cache.pixels), count, *cache.pixels.shape[1:3])
    if not data.exists():
        aside = data.with_suffix(f".{os.getpid()}.tmp")
        try:
            _find(cache.pixels, np.sort(rows), np.memmap(aside, dtype=np.uint8, mode="w+", shape=shape), step)
            aside.replace(data)
        finally:
            aside.unlink(missing_ok=True)
    return np.memmap(data, dtype=np.uint8, mode="r", shape=shape)


def _find(pixels: Pixels, rows: Rows, masks: np.memmap[Any, Any], step: Callable[[int, int], None]) -> None:
    def find(part: Rows) -> int:
        masks[part] = find_masks(pixels[part], masks.shape[1])
        return len(part)

    done = 0
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="cut-out") as pool:
        for found in pool.map(find, np.split(rows, range(_CHUNK, len(rows), _CHUNK))):
            done += found
            step(done, len(rows))
    masks.flush()
