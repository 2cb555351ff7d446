"""Photographs of people with every garment outlined and named, in a layout for Clothing Co-Parsing.

A folder holds `photos/<n>.jpg`, `masks/<n>.png` of the same size, one byte a pixel, and `labels.csv` with the name of
each value (columns `index` and `label`). Yang, Luo, Lin, "Clothing Co-Parsing by Joint Image Segmentation and
Labeling", CVPR 2014.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from vitrine.catalogs.roots import read_picture
from vitrine.errors import CatalogMalformed, CatalogNotFound, ImageRejected, PictureNotFound
from vitrine.images.decode import decode_image
from vitrine.types import Pixels

# Photographs that nothing is trained on, and the seed that chooses them.
HELD_OUT: Final = 160
HELD_OUT_SEED: Final = 0
# Of a smaller set at most this share is held out.
_HELD_OUT_SHARE: Final = 0.2
_MOST_LABELS: Final = 256
_LABELS: Final = "labels.csv"


@dataclass(frozen=True, slots=True)
class StreetPhotographs:
    """`names` are the photographs' file names without suffix, sorted; `labels` the names of the mask's values."""

    root: Path
    names: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def held_out(self) -> frozenset[str]:
        """The photographs for validation: 160 of them, or a fifth of fewer than 800. The same for every training."""
        count = min(HELD_OUT, round(_HELD_OUT_SHARE * len(self.names)))
        order = np.random.default_rng(HELD_OUT_SEED).permutation(len(self.names))
        return frozenset(self.names[at] for at in order[:count])

    @property
    def for_training(self) -> tuple[str, ...]:
        held_out = self.held_out
        return tuple(name for name in self.names if name not in held_out)

    def photograph(self, name: str) -> Pixels:
        """(H, W, 3) uint8. Raises CatalogMalformed if it cannot be read."""
        try:
            return np.asarray(decode_image(read_picture(self.root, f"photos/{name}.jpg")))
        except (ImageRejected, PictureNotFound) as error:
            raise CatalogMalformed(f"the photograph photos/{name}.jpg cannot be read: {error.detail}") from error

    def mask(self, name: str) -> Pixels:
        """(H, W) uint8, the label of each pixel. Raises CatalogMalformed if it cannot be read."""
        try:
            with Image.open(self.root / "masks" / f"{name}.png", formats=("PNG",)) as image:
                if image.mode not in ("L", "P"):
                    raise CatalogMalformed(f"masks/{name}.png has the mode {image.mode}: it must have one byte a pixel")
                mask = np.array(image, dtype=np.uint8)
        except (OSError, SyntaxError, UnidentifiedImageError) as error:
            raise CatalogMalformed(f"the mask masks/{name}.png cannot be read: {error}") from error
        if mask.max(initial=0) >= len(self.labels):
            raise CatalogMalformed(f"masks/{name}.png has the value {mask.max()}, which {_LABELS} does not name")
        return mask

    def outlined(self, name: str) -> tuple[Pixels, Pixels]:
        """A photograph and its mask. Raises CatalogMalformed if one cannot be read or their sizes differ."""
        photograph, mask = self.photograph(name), self.mask(name)
        if photograph.shape[:2] != mask.shape:
            sizes = " and ".join(f"{pixels.shape[1]}x{pixels.shape[0]}" for pixels in (photograph, mask))
            raise CatalogMalformed(f"the photograph and the mask {name!r} differ in size: {sizes}")
        return photograph, mask


def read_street_photographs(root: Path) -> StreetPhotographs:
    """Find the photographs below `root`. Raises CatalogNotFound, CatalogMalformed."""
    try:
        with (root / _LABELS).open(encoding="utf-8", newline="") as file:
            rows = [(row["index"], row["label"]) for row in csv.DictReader(file)]
        labels = {int(index): label for index, label in rows}
    except OSError as error:
        raise CatalogNotFound(f"{root} has no {_LABELS} of outlined photographs: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogMalformed(f"{root / _LABELS} must have the columns index and label, with a number each") from error
    if sorted(labels) != list(range(len(labels))) or not 0 < len(labels) <= _MOST_LABELS:
        raise CatalogMalformed(f"{root / _LABELS} must number its labels from 0, at most {_MOST_LABELS}")
    # Numbers in their order, whatever their padding; other names after them.
    names = sorted((path.stem for path in (root / "photos").glob("*.jpg")), key=_order)
    missing = [name for name in names if not (root / "masks" / f"{name}.png").is_file()]
    if missing:
        raise CatalogMalformed(f"{len(missing)} photographs of {root} have no mask, the first is {missing[0]!r}")
    if not names:
        raise CatalogNotFound(f"{root / 'photos'} has no photographs")
    return StreetPhotographs(root.resolve(), tuple(names), tuple(labels[index] for index in range(len(labels))))


def _order(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isascii() and name.isdigit() else (2**63, name)
