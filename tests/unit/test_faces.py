"""Faces that are blurred in photographs, by class probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from harness.garment_maps import PERSON, Drawn, beside, probabilities_of
from vitrine.images.faces import blur_faces
from vitrine.types import Flags

HEAD = (50, 10, 70, 34)
HANDS = ((28, 60, 36, 84), (84, 60, 92, 84))


def photograph(width: int, height: int) -> Image.Image:
    """Fine noise, of which a blur leaves nothing."""
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8))


def changed(*drawn: Drawn, size: tuple[int, int] = (120, 160), enlargement: int = 4) -> Flags:
    """Which points of the map differ after blurring, (height, width): all of their pixels do, or none."""
    picture = photograph(size[0] * enlargement, size[1] * enlargement)
    blurred = blur_faces(picture, probabilities_of(drawn, size=size))
    assert blurred is not None
    differs = (np.asarray(blurred) != np.asarray(picture)).any(axis=2)
    points: Flags = differs.reshape(size[1], enlargement, size[0], enlargement).mean(axis=(1, 3)) > 0.5
    return points


def inside(box: tuple[int, int, int, int], points: Flags) -> float:
    """The share of a box that is set."""
    left, top, right, bottom = box
    return float(points[top:bottom, left:right].mean())


def test_the_head_is_blurred_and_garments_are_not() -> None:
    points = changed(*PERSON)
    assert inside(HEAD, points) == 1.0
    for kind, (left, top, right, bottom) in PERSON:
        if kind != "skin":
            assert inside((left + 1, top + 1, right - 1, bottom - 1), points) == 0.0, kind


def test_hands_below_the_chest_are_left_as_they_are() -> None:
    points = changed(*PERSON)
    assert [inside((left + 1, top + 1, right - 1, bottom), points) for left, top, right, bottom in HANDS] == [0.0, 0.0]


def test_the_heads_of_a_tall_and_of_a_short_person_are_blurred() -> None:
    short = tuple(
        (kind, (left, top + 40, right, bottom + 40)) for kind, (left, top, right, bottom) in beside(PERSON, 120)
    )
    points = changed(*PERSON, *short, size=(240, 200))
    assert inside(HEAD, points) == 1.0
    assert inside((170, 50, 190, 74), points) == 1.0


def test_sunglasses_are_blurred_with_the_face() -> None:
    points = changed(*PERSON, ("background", (50, 18, 70, 22)))
    assert inside(HEAD, points) == 1.0


def test_a_hat_is_kept_and_the_face_below_it_is_not() -> None:
    points = changed(*PERSON, ("hat", (48, 4, 72, 14)))
    assert inside((50, 15, 70, 34), points) == 1.0
    assert inside((49, 5, 71, 12), points) == 0.0


def test_without_a_garment_all_skin_is_blurred() -> None:
    box = (20, 20, 100, 150)
    assert inside(box, changed(("skin", box))) == 1.0


def test_bare_legs_below_a_skirt_are_left_and_a_bare_torso_above_it_is_not() -> None:
    legs, torso = (44, 100, 76, 150), (40, 20, 80, 60)
    points = changed(("skin", torso), ("skirt", (40, 60, 80, 100)), ("skin", legs))
    assert inside((torso[0], torso[1], torso[2], torso[3] - 1), points) == 1.0
    assert inside((45, 101, 75, 149), points) == 0.0


def test_a_head_that_is_not_certain_is_blurred() -> None:
    picture, probabilities = photograph(480, 640), probabilities_of(PERSON)
    left, top, right, bottom = HEAD
    probabilities[0, top:bottom, left:right], probabilities[11, top:bottom, left:right] = 0.6, 0.3
    blurred = blur_faces(picture, probabilities)
    assert blurred is not None
    differs = (np.asarray(blurred) != np.asarray(picture)).any(axis=2)
    assert differs[4 * top : 4 * bottom, 4 * left : 4 * right].mean() > 0.99


@pytest.mark.parametrize("drawn", [(), (("dress", (40, 30, 80, 130)),), (("skin", (5, 5, 7, 7)),)])
def test_a_picture_that_shows_no_one_is_not_changed(drawn: tuple[Drawn, ...]) -> None:
    assert blur_faces(photograph(240, 320), probabilities_of(drawn)) is None


def test_nothing_of_a_blurred_face_can_be_restored() -> None:
    """Two faces with the same few mean colours give the same blurred picture."""
    light = np.full((640, 480, 3), 128, dtype=np.int16)
    face = np.random.default_rng(1).integers(-40, 41, (4, 4, 3))
    left, top, right, bottom = (4 * side for side in HEAD)
    detail = np.tile(face - face.mean(axis=(0, 1)).round().astype(int), ((bottom - top) // 4, (right - left) // 4, 1))
    detailed = light.copy()
    detailed[top:bottom, left:right] += detail.astype(np.int16)
    assert int(abs(detailed - light).max()) > 30
    plain, other = (
        blur_faces(Image.fromarray(one.astype(np.uint8)), probabilities_of(PERSON)) for one in (light, detailed)
    )
    assert plain is not None
    assert other is not None
    rest = np.asarray(plain).astype(int) - np.asarray(other).astype(int)
    assert abs(rest[top:bottom, left:right]).max() <= 4
