"""Occlusion heatmaps, for a network whose region of interest is known."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from embedder.explanation import COLUMNS, ROWS, cover, draw, heat_map


def checked_corner() -> np.ndarray:
    """A white picture with a small black and white checkerboard near the lower left."""
    pixels = np.full((160, 120, 3), 255, dtype=np.uint8)
    down, across = np.mgrid[0:30, 0:30]
    pixels[115:145, 10:40] = np.where(((down // 5 + across // 5) % 2)[..., None], 0, 255)
    return pixels


def interest(picture: Image.Image) -> float:
    """The feature of the network: the contrast of the whole picture."""
    pixels = np.asarray(picture, dtype=np.float64).mean(axis=2)
    return float(np.abs(np.diff(pixels, axis=1)).sum()) / 1e5


def test_the_heatmap_is_hot_where_the_network_responds() -> None:
    whole = Image.fromarray(checked_corner())
    parts = cover(whole)
    assert len(parts.copies) == ROWS * COLUMNS
    heat = heat_map(interest(whole), np.array([interest(copy) for copy in parts.copies]))
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert row in (5, 6)
    assert column in (0, 1, 2)
    assert heat[:3].max() < 0.05 * heat.max(), "covering plain white changes nothing"
    shown = np.asarray(Image.open(io.BytesIO(draw([(parts.picture, heat)]))), dtype=np.float64)
    redness = shown[..., 0] - shown[..., 1]
    assert redness[345:435, 30:120].mean() > redness[:200].mean() + 20


def test_large_pictures_are_reduced_and_narrow_ones_are_accepted() -> None:
    large = cover(Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)))
    assert min(large.picture.size) == 192
    narrow = cover(Image.fromarray(np.zeros((8, 100, 3), dtype=np.uint8)))
    assert {copy.size for copy in narrow.copies} == {(100, 8)}
    draw([(narrow.picture, np.zeros((ROWS, COLUMNS)))])
