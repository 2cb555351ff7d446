"""Garments cut out of photographs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from harness.photographs import photographed
from harness.pictures import colour_at, near
from vitrine.images.cutout import cut_out
from vitrine.images.views import View, views

RED = (190, 30, 40)


def dress(width: int = 180, height: int = 240) -> Image.Image:
    """A red dress on the drawn carpet."""
    picture = photographed(Image.new("RGB", (width, height), "white"))
    lines = [(0.4, 0.15), (0.6, 0.15), (0.62, 0.45), (0.75, 0.85), (0.25, 0.85), (0.38, 0.45)]
    ImageDraw.Draw(picture).polygon([(round(x * width), round(y * height)) for x, y in lines], fill=RED)
    return picture


def test_the_garment_of_a_photo_is_centered_on_white() -> None:
    found = cut_out(dress())
    assert found.width / found.height == pytest.approx(0.75, abs=0.01)
    pixels = np.asarray(found).astype(int)
    red = np.all(abs(pixels - RED) < 40, axis=2)
    carpet = pixels[..., 1] > pixels[..., 0] + 20
    assert carpet.mean() < 0.035, "something of the carpet is left"
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert len(rows) > 0.75 * found.height, "the garment fills its frame"
    assert rows[0] + rows[-1] == pytest.approx(found.height, abs=6)
    assert columns[0] + columns[-1] == pytest.approx(found.width, abs=6)
    # The dress fills about half of its frame.
    frame = red[rows[0] : rows[-1], columns[0] : columns[-1]]
    assert 0.5 < frame.mean() < 0.75


def test_a_picture_on_white_is_unchanged() -> None:
    picture = Image.new("RGB", (60, 80), (250, 252, 249))
    ImageDraw.Draw(picture).rectangle((15, 20, 45, 60), fill=RED)
    assert cut_out(picture) is picture


@pytest.mark.parametrize("colour", [(0, 0, 0), (90, 120, 30)])
def test_a_picture_of_one_colour_is_unchanged(colour: tuple[int, int, int]) -> None:
    picture = Image.new("RGB", (90, 120), colour)
    assert cut_out(picture) is picture


def test_a_speck_beside_the_garment_is_left_out() -> None:
    picture = dress()
    ImageDraw.Draw(picture).rectangle((20, 40, 30, 50), fill=RED)
    found, alone = cut_out(picture), cut_out(dress())
    assert found.width == pytest.approx(alone.width, abs=6)
    assert near(colour_at(found, 4, found.height // 5), (255, 255, 255))


def test_the_cut_out_of_a_picture_is_the_same_in_every_thread() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cut_out(dress()).tobytes(), range(8)))
    assert len(set(found)) == 1


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**16))
def test_every_picture_has_a_garment_view(width: int, height: int, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = cut_out(Image.fromarray(noise))
    assert min(found.size) >= 1
    assert found.mode == "RGB"


@pytest.mark.parametrize("side", [8, 12, 16, 24])
def test_the_garment_of_a_tiny_picture_is_never_lost(side: int) -> None:
    picture = Image.new("RGB", (side, side), (40, 160, 60))
    ImageDraw.Draw(picture).rectangle((side // 2 - 2, side // 2 - 2, side // 2 + 1, side // 2 + 1), fill=RED)
    found = np.asarray(cut_out(picture)).astype(int)
    assert np.all(abs(found - RED) < 60, axis=2).any(), "the garment is white"


def test_views_of_the_garment_are_taken_from_its_cut_out() -> None:
    picture = dress()
    first, mirrored = views(flip=True, crops=0, cutout=True)
    assert first.of(picture).tobytes() == cut_out(picture).tobytes()
    assert mirrored.of(picture).tobytes() == View(mirrored=True).of(cut_out(picture)).tobytes()
