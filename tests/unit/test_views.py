"""Views of a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.pictures import gradient
from vitrine.errors import ParameterInvalid
from vitrine.images.views import AS_IT_IS, MAX_CROPS, View, in_views, parse_views, views, views_text


@pytest.mark.parametrize(("flip", "crops", "count"), [(False, 0, 1), (True, 0, 2), (False, 5, 6), (True, 5, 12)])
def test_the_unchanged_picture_comes_first_and_no_view_twice(flip: bool, crops: int, count: int) -> None:
    found = views(flip=flip, crops=crops)
    assert found[0] == AS_IT_IS
    assert len(found) == len(set(found)) == count


def test_the_views_of_a_picture_differ_and_the_first_is_the_picture() -> None:
    picture = gradient(60, 80)
    seen = [view.of(picture) for view in views(flip=True, crops=MAX_CROPS)]
    assert seen[0].tobytes() == picture.tobytes()
    assert len({one.tobytes() for one in seen}) == len(seen)
    assert {one.size for one in seen} == {(60, 80), (51, 68)}


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_view_is_within_the_picture(width: int, height: int) -> None:
    picture = Image.fromarray(np.full((height, width, 3), 200, dtype=np.uint8))
    for view in views(flip=True, crops=MAX_CROPS):
        seen = view.of(picture)
        assert 1 <= seen.width <= width
        assert 1 <= seen.height <= height
        assert (np.asarray(seen) == 200).all(), "a cut reaches beyond the picture"


def test_a_mirrored_view_is_the_mirror_image() -> None:
    picture = gradient(31, 20)
    np.testing.assert_array_equal(np.asarray(View(mirrored=True).of(picture)), np.asarray(picture)[:, ::-1])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crops", [0, 3, MAX_CROPS])
@pytest.mark.parametrize("cutout", [False, True])
def test_views_survive_a_round_trip_through_text(flip: bool, crops: int, cutout: bool) -> None:
    text = views_text(flip=flip, crops=crops, cutout=cutout)
    assert parse_views(text) == views(flip=flip, crops=crops, cutout=cutout)


@pytest.mark.parametrize("text", ["crops:6", "crops:", "crops:-1", "crops:11", "crops:²", "Flip", "cutout:1", "a" * 99])
def test_unknown_views_are_refused_by_name(text: str) -> None:
    with pytest.raises(ParameterInvalid, match="cutout, flip and crops"):
        parse_views(text)


def test_a_garment_is_cut_out_once_for_all_its_views() -> None:
    calls = []

    def cut_out(image: Image.Image) -> Image.Image:
        calls.append(image)
        return image

    seen = list(in_views(gradient(60, 80), views(flip=True, crops=5, cutout=True), cut_out=cut_out))
    assert len(seen) == 12
    assert len(calls) == 1


def test_a_large_picture_is_reduced_before_the_crop_and_a_small_one_is_not() -> None:
    (mirrored,) = in_views(gradient(2400, 1600), (View(mirrored=True),))
    assert mirrored.size == (800, 534)
    assert next(in_views(gradient(2400, 1600), (AS_IT_IS,))).size == (2400, 1600)
    assert next(in_views(gradient(900, 900), (View(mirrored=True),))).size == (900, 900)
