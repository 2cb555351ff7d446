"""Garments found in class probabilities: what belongs together, in which order, and where."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.garment_maps import HEAD, PERSON, Drawn, beside, probabilities_of
from vitrine.garments import BY_NAME, KINDS
from vitrine.images.garment_masks import MAX_GARMENTS, Probabilities, covering, enlarged, find_garments
from vitrine.images.regions import Region


def kinds(*drawn: Drawn, size: tuple[int, int] = (120, 160)) -> list[str]:
    return [garment.kind.name for garment in find_garments(probabilities_of(drawn, size=size))]


def test_a_person_wears_one_garment_of_each_kind_the_most_prominent_first() -> None:
    garments = find_garments(probabilities_of(PERSON))
    assert [(garment.number, garment.kind.name) for garment in garments] == [
        (1, "trousers"),
        (2, "upper"),
        (3, "shoes"),
    ]
    trousers = garments[0]
    assert trousers.probability == pytest.approx(0.9, abs=1e-3)
    assert trousers.box == Region(0.3333, 0.5, 0.3334, 0.375)
    assert trousers.share == pytest.approx(40 * 60 / (120 * 160), abs=1e-3)
    assert trousers.mask.shape == (160, 120)
    assert int(trousers.mask.sum()) == 40 * 60


def test_the_less_certain_of_two_equal_garments_comes_later() -> None:
    drawn = (("bag", (10, 10, 40, 40)), ("hat", (60, 10, 90, 40)))
    probabilities = probabilities_of(drawn)
    assert [one.kind.name for one in find_garments(probabilities)] == ["bag", "hat"]
    probabilities[8] *= 0.7
    assert [one.kind.name for one in find_garments(probabilities)] == ["hat", "bag"]


def test_both_shoes_are_one_garment_and_its_outline_has_two_parts() -> None:
    shoes = find_garments(probabilities_of(PERSON))[2]
    assert len(shoes.outline) == 2
    assert shoes.box == Region(0.3, 0.875, 0.4, 0.05)


def test_the_sides_of_an_open_coat_are_one_garment() -> None:
    coat: list[Drawn] = [("outer", (30, 34, 46, 110)), ("outer", (74, 34, 90, 110)), ("upper", (46, 34, 74, 100))]
    assert sorted(kinds(HEAD, *coat)) == ["outer", "upper"]


def test_a_garment_that_nobody_wears_has_one_kind_whatever_its_parts_are_taken_for() -> None:
    lying: list[Drawn] = [("upper", (30, 30, 90, 80)), ("outer", (30, 80, 90, 110)), ("bag", (84, 100, 100, 116))]
    [garment] = find_garments(probabilities_of(tuple(lying)))
    assert garment.kind.name == "upper"
    assert int(garment.mask.sum()) == 60 * 80 + 16 * 16 - 6 * 10
    assert sorted(kinds(HEAD, *lying)) == ["bag", "outer", "upper"], "on a person they are three"


def test_garments_that_lie_together_are_as_many_as_there_are_parts_of_the_body() -> None:
    assert sorted(kinds(("upper", (30, 20, 90, 80)), ("trousers", (40, 80, 80, 140)))) == ["trousers", "upper"]


def test_a_garment_that_nobody_wears_is_found_although_its_kind_is_not_sure() -> None:
    probabilities = probabilities_of((("upper", (30, 30, 90, 110)),))
    number, other = BY_NAME["upper"].number, BY_NAME["outer"].number
    where = probabilities[number] > 0.5
    probabilities[number][where], probabilities[other][where] = 0.36, 0.35
    probabilities[0][where] = 0.2
    [garment] = find_garments(probabilities)
    assert garment.kind.name == "upper"
    assert garment.probability == pytest.approx(0.36, abs=1e-3)
    probabilities[0][where], probabilities[other][where] = 0.35, 0.2
    probabilities[1 + other][where] = 0.0
    assert len(find_garments(probabilities)) == 1
    probabilities[0][where] = 0.7
    assert find_garments(probabilities) == (), "next to nothing says that it is a garment"


def test_a_garment_that_an_arm_divides_is_one() -> None:
    assert kinds(("dress", (40, 30, 80, 70)), ("background", (40, 66, 80, 70)), ("dress", (40, 70, 80, 130))) == [
        "dress"
    ]


def test_the_garments_of_two_persons_who_stand_apart_are_separate() -> None:
    two = (*PERSON, *beside(PERSON, 140))
    garments = find_garments(probabilities_of(two, size=(280, 160)))
    assert [garment.kind.name for garment in garments] == ["trousers"] * 2 + ["upper"] * 2 + ["shoes"] * 2
    assert garments[0].box.x < garments[1].box.x, "of two alike, the left one comes first"


def test_specks_are_left_out() -> None:
    assert kinds(("dress", (40, 30, 80, 130)), ("bag", (5, 5, 12, 12)), ("dress", (2, 150, 12, 160))) == ["dress"]


def _with_probability(drawn: tuple[Drawn, ...], kind: str, probability: float) -> Probabilities:
    """The map of the rectangles, less certain where the kind is: what is taken from it goes to the background."""
    probabilities = probabilities_of(drawn)
    number = BY_NAME[kind].number
    where = probabilities[number] > 0.5
    probabilities[0][where] += probabilities[number][where] - probability
    probabilities[number][where] = probability
    return probabilities


DRESS: Drawn = ("dress", (30, 30, 90, 140))
# On the dress, at its side: a twelfth of it.
SLEEVE: tuple[int, int, int, int] = (30, 40, 46, 74)


@pytest.mark.parametrize("kind", ["upper", "outer", "skirt", "trousers", "shorts"])
def test_a_part_of_a_dress_that_was_taken_for_another_kind_is_left_out(kind: str) -> None:
    probabilities = _with_probability((HEAD, DRESS, (kind, SLEEVE)), kind, 0.55)
    assert [one.kind.name for one in find_garments(probabilities)] == ["dress"]
    assert [one.kind.name for one in find_garments(probabilities, with_parts=True)] == ["dress", kind]


@pytest.mark.parametrize(
    ("kind", "box", "probability"),
    [
        ("upper", SLEEVE, 0.65),  # sure enough
        ("upper", (30, 30, 90, 56), 0.55),  # too large for a part
        ("upper", (100, 40, 112, 84), 0.55),  # apart from the dress
        ("upper", (90, 60, 118, 68), 0.55),  # touches it with one end
        ("bag", SLEEVE, 0.55),  # a bag is for no part of the body
        ("shoes", SLEEVE, 0.55),
    ],
)
def test_a_garment_beside_a_larger_one_is_found(kind: str, box: tuple[int, int, int, int], probability: float) -> None:
    found = find_garments(_with_probability((HEAD, DRESS, (kind, box)), kind, probability))
    assert {one.kind.name for one in found} == {"dress", kind}


def test_a_small_top_above_trousers_is_no_part_of_them() -> None:
    drawn: tuple[Drawn, ...] = (HEAD, ("trousers", (30, 50, 90, 150)), ("upper", (40, 34, 80, 50)))
    assert {one.kind.name for one in find_garments(_with_probability(drawn, "upper", 0.5))} == {"trousers", "upper"}


def test_what_is_left_out_takes_no_number() -> None:
    drawn: tuple[Drawn, ...] = (HEAD, DRESS, ("skirt", SLEEVE), ("shoes", (50, 142, 70, 152)))
    probabilities = _with_probability(drawn, "skirt", 0.55)
    assert [(one.number, one.kind.name) for one in find_garments(probabilities)] == [(1, "dress"), (2, "shoes")]


def test_skin_and_background_are_no_garments() -> None:
    assert kinds(("skin", (10, 10, 100, 100))) == []
    assert kinds() == []


def test_a_crowd_has_no_more_garments_than_are_told() -> None:
    bags: list[Drawn] = [("bag", (x, y, x + 12, y + 12)) for x in range(0, 120, 24) for y in range(0, 150, 24)]
    found = kinds(*bags)
    assert found == ["bag"] * MAX_GARMENTS


def test_the_garment_that_covers_most_of_a_region_is_meant() -> None:
    garments = find_garments(probabilities_of(PERSON))
    for region, kind in [(Region(0.3, 0.2, 0.4, 0.35), "upper"), (Region(0.25, 0.85, 0.5, 0.1), "shoes")]:
        found = covering(garments, region)
        assert found is not None
        assert found.kind.name == kind
    assert covering(garments, Region(0.0, 0.0, 0.2, 0.1)) is None
    assert covering((), Region(0, 0, 1, 1)) is None


def test_probabilities_are_enlarged_smoothly() -> None:
    probabilities = probabilities_of(PERSON)
    larger = enlarged(probabilities, 4)
    assert larger.shape == (len(KINDS), 640, 480)
    assert [one.kind.name for one in find_garments(larger)] == ["trousers", "upper", "shoes"]
    np.testing.assert_allclose(larger.sum(axis=0), 1.0, atol=1e-4)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**16))
def test_the_garments_of_any_probabilities_are_numbered_and_lie_in_the_picture(
    width: int, height: int, block: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((len(KINDS), -(-height // block), -(-width // block)), dtype=np.float32) ** 8
    noise = np.repeat(np.repeat(coarse, block, axis=1), block, axis=2)[:, :height, :width]
    garments = find_garments(noise / noise.sum(axis=0))
    assert [garment.number for garment in garments] == list(range(1, len(garments) + 1))
    prominence = [garment.probability * int(garment.mask.sum()) for garment in garments]
    assert all(one >= other * 0.999 for one, other in pairwise(prominence))
    for garment in garments:
        assert garment.mask.shape == (height, width)
        box = garment.box
        assert box.x >= 0
        assert box.y >= 0
        assert box.width > 0
        assert box.height > 0
        assert box.x + box.width <= 1.0001
        assert box.y + box.height <= 1.0001
        for polygon in garment.outline:
            assert 1 <= len(polygon) <= 60
            assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in polygon)
