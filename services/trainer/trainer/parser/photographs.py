"""Outlined photographs in a memory-mapped cache: each is decoded once, and its labels become kinds of garments."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from vitrine.atomic_write import atomic_open, write_json
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.errors import TrainingImpossible
from vitrine.garments import KIND_NAMES, kind_of_label
from vitrine.types import Pixels, Rows, Values

# The longest side of a stored photograph, relative to the input: enlarged parts stay sharp.
_STORED_SCALE: Final = 4 / 3
_WHITE: Final = 255
_DATA: Final = "photographs.pixels"
_INDEX: Final = "photographs.json"
# A garment that covers less of a photograph is no example of its kind.
_MIN_SHARE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Outlined:
    """Photographs for training: `pixels` (N, H, W, 3) padded with white, and `masks` (N, H, W) of kinds' numbers."""

    pixels: Pixels
    masks: Pixels

    def shares(self) -> Values:
        """(N, kinds) the share of each photograph that each kind covers."""
        kinds = len(KIND_NAMES)
        return np.stack([np.bincount(mask.ravel(), minlength=kinds) / mask.size for mask in self.masks])


def label_numbers(labels: tuple[str, ...]) -> Pixels:
    """(256,) the number of the kind that each value of a mask with these labels stands for."""
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[: len(labels)] = [kind_of_label(label).number for label in labels]
    return numbers


def outlined_photographs(
    photographs: StreetPhotographs,
    names: tuple[str, ...],
    height_px: int,
    width_px: int,
    *,
    folder: Path,
    step: Callable[[int, int], None],
) -> Outlined:
    """The photographs `names`, from the cache in `folder` or decoded into it.

    `height_px` and `width_px` are those of the network's input. `step` is called with the photographs done and their
    number, and may raise to stop; nothing is kept then. Raises CatalogMalformed, and TrainingImpossible if too few
    photographs are left.
    """
    if len(names) < 2:
        raise TrainingImpossible(f"{photographs.root} has too few outlined photographs to train a parser on")
    height, width = round(height_px * _STORED_SCALE), round(width_px * _STORED_SCALE)
    about = {"root": str(photographs.root), "names": list(names), "labels": list(photographs.labels)}
    index, data = folder / _INDEX, folder / _DATA
    stored = {**about, "shape": [height, width], "kinds": list(KIND_NAMES)}
    if not index.exists() or json.loads(index.read_bytes()) != stored:
        folder.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)
        numbers = label_numbers(photographs.labels)
        # Written with write(), not through a memory map: there a full disk would kill the process instead of raising.
        with atomic_open(data) as file:
            for done, name in enumerate(names):
                step(done, len(names))
                photograph, mask = photographs.outlined(name)
                for padded in _padded(photograph, numbers[mask], height, width):
                    file.write(padded.tobytes())
        write_json(index, stored)  # last: it marks the cache as complete
    joined = np.memmap(data, dtype=np.uint8, mode="r", shape=(len(names), height * width * 4))
    split = height * width * 3
    return Outlined(
        joined[:, :split].reshape(len(names), height, width, 3), joined[:, split:].reshape(len(names), height, width)
    )


def drawing_weights(shares: Values, balance: float) -> Values:
    """(N,) how often to draw each photograph, sum 1, by the rarest kind in it.

    `shares` (N, kinds) are those of `Outlined.shares`. A kind in one photograph of k counts k to the power `balance`.
    """
    shown = shares > _MIN_SHARE
    rarity = 1 / np.maximum(shown.mean(axis=0), 1 / len(shares))
    weights = np.where(shown, rarity**balance, 1.0).max(axis=1)
    drawn: Values = weights / weights.sum()
    return drawn


def drawn_together(weights: Values, others: Values, share: float) -> Values:
    """(N + M,) how often to draw each photograph of two sets, sum 1, where this share of the draws is from the second.

    `weights` (N,) and `others` (M,) have the sum 1 each.
    """
    return np.concatenate([(1 - share) * weights, share * others])


def donors(shares: Values, *, rarer_than: float) -> dict[int, Rows]:
    """By the number of each kind that fewer than this share of the photographs show: the photographs that do."""
    shown = shares > 2 * _MIN_SHARE
    rare = [number for number in range(1, shares.shape[1]) if 0 < shown[:, number].mean() < rarer_than]
    return {number: np.flatnonzero(shown[:, number]) for number in rare}


def _padded(photograph: Pixels, mask: Pixels, height: int, width: int) -> tuple[Pixels, Pixels]:
    """Both as large as fits into (height, width), in the middle, on white and on background."""
    scale = min(height / mask.shape[0], width / mask.shape[1])
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.full((height, width, 3), _WHITE, dtype=np.uint8)
    numbers = np.zeros((height, width), dtype=np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    rows, columns = slice(top, top + size[1]), slice(left, left + size[0])
    pixels[rows, columns] = cv2.resize(photograph, size, interpolation=shrinks)
    numbers[rows, columns] = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return pixels, numbers
