"""A picture in several views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.pictures import gradient
from vitrine.views import AS_IT_IS, MAX_CROPS, View, views


@pytest.mark.parametrize(("flip", "crops", "count"), [(False, 0, 1), (True, 0, 2), (False, 5, 6), (True, 5, 12)])
def test_the_picture_as_it_is_comes_first_and_no_view_twice(flip: bool, crops: int, count: int) -> None:
    found = views(flip=flip, crops=crops)
    assert found[0] == AS_IT_IS
    assert len(found) == len(set(found)) == count


def test_the_views_of_a_picture_differ_and_the_first_is_itself() -> None:
    picture = gradient(60, 80)
    seen = [view.of(picture) for view in views(flip=True, crops=MAX_CROPS)]
    assert seen[0].tobytes() == picture.tobytes()
    assert len({one.tobytes() for one in seen}) == len(seen)
    assert {one.size for one in seen} == {(60, 80), (51, 68)}


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_view_lies_within_the_picture(width: int, height: int) -> None:
    picture = Image.fromarray(np.full((height, width, 3), 200, dtype=np.uint8))
    for view in views(flip=True, crops=MAX_CROPS):
        seen = view.of(picture)
        assert 1 <= seen.width <= width
        assert 1 <= seen.height <= height
        assert (np.asarray(seen) == 200).all(), "a cut reaches beyond the picture"


def test_a_mirrored_view_is_the_mirror_image() -> None:
    picture = gradient(31, 20)
    np.testing.assert_array_equal(np.asarray(View(mirrored=True).of(picture)), np.asarray(picture)[:, ::-1])
