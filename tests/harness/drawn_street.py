"""Drawn street photographs with outlined garments, in the layout of the real ones. Nobody is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs

LABELS = ("null", "shirt", "jeans", "shoes", "bag", "skin", "glasses")
_SIZE = (120, 90)
# Top, bottom, left and right of each garment, by its value in the mask.
_BOXES = {
    1: [(20, 55, 25, 65)],
    2: [(55, 100, 30, 60)],
    3: [(102, 112, 22, 40), (102, 112, 50, 68)],
    4: [(50, 75, 70, 85)],
}


def drawn_street(folder: Path, *, count: int = 12, seed: int = 0) -> StreetPhotographs:
    """`count` photographs of a shirt, jeans, a pair of shoes and a bag each, of random colors on noise."""
    random = np.random.default_rng(seed)
    for name in ("photos", "masks"):
        (folder / name).mkdir(parents=True)
    rows = "".join(f"{index},{label},0\n" for index, label in enumerate(LABELS))
    (folder / "labels.csv").write_text("index,label,photographs\n" + rows, encoding="utf-8")
    for number in range(1, count + 1):
        photograph = random.integers(90, 160, (*_SIZE, 3), dtype=np.uint8)
        mask = np.zeros(_SIZE, dtype=np.uint8)
        for value, boxes in _BOXES.items():
            color = random.integers(0, 256, 3, dtype=np.uint8)
            for top, bottom, left, right in boxes:
                photograph[top:bottom, left:right] = color
                mask[top:bottom, left:right] = value
        Image.fromarray(photograph).save(folder / "photos" / f"{number:04d}.jpg", quality=92)
        Image.fromarray(mask).save(folder / "masks" / f"{number:04d}.png")
    return read_street_photographs(folder)
