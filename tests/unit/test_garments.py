"""Garments cut out of photographs by their masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from harness.garment_maps import Drawn, probabilities_of
from vitrine.images.cutout import cut_out_garment, is_on_white
from vitrine.images.garment_masks import Garment, enlarged, find_garments
from vitrine.images.regions import Region
from vitrine.images.views import View, views

RED = (190, 30, 40)
_CARPET = (90, 130, 110)
_WHITE_FROM = 240
DRESS: tuple[Drawn, ...] = (("dress", (40, 30, 80, 130)),)


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


def dress(width: int = 480, height: int = 640) -> Image.Image:
    """A red dress on the drawn carpet, where the map has it."""
    picture = photographed(Image.new("RGB", (width, height), "white"))
    ImageDraw.Draw(picture).rectangle((width / 3, height * 3 / 16, width * 2 / 3, height * 13 / 16), fill=RED)
    return picture


@pytest.fixture(scope="module")
def garment() -> Garment:
    (found,) = find_garments(enlarged(probabilities_of(DRESS), 2))
    return found


def test_the_garment_of_a_photograph_is_centred_on_white(garment: Garment) -> None:
    found = cut_out_garment(dress(), garment)
    assert found.width / found.height == pytest.approx(0.75, abs=0.01)
    pixels = np.asarray(found).astype(int)
    red = np.all(abs(pixels - RED) < 40, axis=2)
    carpet = (pixels[..., 1] > pixels[..., 0] + 20) & (pixels.min(axis=2) < 200)
    assert carpet.mean() < 0.005, "something of the carpet is left"
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert len(rows) > 0.75 * found.height, "the garment fills its frame"
    assert rows[0] + rows[-1] == pytest.approx(found.height, abs=6)
    assert columns[0] + columns[-1] == pytest.approx(found.width, abs=6)
    assert red[rows[0] + 3 : rows[-1] - 3, columns[0] + 3 : columns[-1] - 3].all()


def test_only_what_lies_in_the_region_is_cut_out(garment: Garment) -> None:
    whole = cut_out_garment(dress(), garment)
    upper_half = cut_out_garment(dress(), garment, region=Region(0, 0, 1, 0.5))
    red = [int((np.abs(np.asarray(one).astype(int) - RED) < 40).all(axis=2).sum()) for one in (whole, upper_half)]
    assert red[1] == pytest.approx(red[0] / 2, rel=0.05)


def test_a_region_beside_the_garment_is_returned_as_it_is(garment: Garment) -> None:
    found = cut_out_garment(dress(), garment, region=Region(0, 0, 0.25, 1))
    assert found.tobytes() == dress().crop((0, 0, 120, 640)).tobytes()


def test_the_picture_may_have_any_size(garment: Garment) -> None:
    small, large = cut_out_garment(dress(90, 120), garment), cut_out_garment(dress(960, 1280), garment)
    assert large.width / small.width == pytest.approx(960 / 90, rel=0.15)


def test_a_garment_smaller_than_a_pixel_leaves_the_picture() -> None:
    (bag,) = find_garments(probabilities_of((("bag", (0, 0, 12, 12)),)))
    picture = Image.new("RGB", (3, 4), RED)
    assert cut_out_garment(picture, bag) is picture


@pytest.mark.parametrize(("colour", "on_white"), [((250, 252, 249), True), ((90, 120, 30), False)])
def test_pictures_of_products_stand_on_white(colour: tuple[int, int, int], on_white: bool) -> None:
    picture = Image.new("RGB", (60, 80), colour)
    ImageDraw.Draw(picture).rectangle((15, 20, 45, 60), fill=RED)
    assert is_on_white(picture) is on_white


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**16))
def test_every_garment_of_every_picture_has_a_cut_out(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    left, top = (int(side) for side in rng.integers(0, 100, 2))
    right, bottom = left + int(rng.integers(12, 100)), top + int(rng.integers(12, 100))
    for garment in find_garments(probabilities_of((("bag", (left, top, right, bottom)),))):
        found = cut_out_garment(picture, garment)
        assert min(found.size) >= 1
        assert found.mode == "RGB"


def test_views_of_the_garment_are_taken_from_its_cut_out(garment: Garment) -> None:
    picture = dress()

    def cut_out(image: Image.Image) -> Image.Image:
        return cut_out_garment(image, garment)

    first, mirrored = views(flip=True, crops=0, cutout=True)
    assert first.of(picture, cut_out=cut_out).tobytes() == cut_out(picture).tobytes()
    assert mirrored.of(picture, cut_out=cut_out).tobytes() == View(mirrored=True).of(cut_out(picture)).tobytes()
