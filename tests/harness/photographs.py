"""Drawn pictures that look like photos: the garment is on a carpet."""

from __future__ import annotations

import numpy as np
from PIL import Image

_CARPET = (90, 130, 110)
_WHITE_FROM = 240


def photographed(picture: Image.Image, *, seed: int = 0) -> Image.Image:
    """The picture with its white background replaced by a wide grainy carpet."""
    rng = np.random.default_rng(seed)
    wide = Image.new("RGB", (round(picture.width * 1.5), round(picture.height * 1.5)), "white")
    wide.paste(picture, (picture.width // 4, picture.height // 4))
    wide = wide.resize(picture.size)
    pixels = np.asarray(wide).astype(np.float64)
    carpet = np.array(_CARPET) + rng.normal(0, 10, (*pixels.shape[:2], 1))
    white = (pixels.min(axis=2) >= _WHITE_FROM)[..., None]
    return Image.fromarray(np.clip(np.where(white, carpet, pixels), 0, 255).astype(np.uint8))
