"""Outlined street photographs: reading, the photographs held out, garments, their classes, colors and views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.drawn_street import LABELS, drawn_street
from trainer.augmentation.street import plain_view, random_view
from trainer.data.dataset import UNKNOWN
from trainer.data.street import allowed_classes, street_garments, values_of_label
from trainer.data.street_colors import street_colors
from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs
from vitrine.errors import CatalogMalformed, CatalogNotFound
from vitrine.recipes import StreetRecipe


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> StreetPhotographs:
    return drawn_street(tmp_path_factory.mktemp("street") / "people", count=12)


def test_photographs_are_found_in_the_order_of_their_numbers(photographs: StreetPhotographs) -> None:
    assert photographs.names[:2] == ("0001", "0002")
    assert photographs.labels == LABELS
    photograph, mask = photographs.outlined("0001")
    assert photograph.shape == (*mask.shape, 3)
    assert set(np.unique(mask)) == {0, 1, 2, 3, 4}


def test_a_fifth_of_few_photographs_is_held_out_and_160_of_many(photographs: StreetPhotographs) -> None:
    assert len(photographs.held_out) == 2
    assert not photographs.held_out & set(photographs.for_training)
    assert sorted((*photographs.held_out, *photographs.for_training)) == list(photographs.names)
    many = StreetPhotographs(photographs.root, tuple(f"{number:04d}" for number in range(1, 805)), LABELS)
    first = np.random.default_rng(0).permutation(804)[:160]
    assert many.held_out == {f"{number + 1:04d}" for number in first}


@pytest.mark.parametrize(
    ("breaks", "error", "says"),
    [
        ("labels.csv", CatalogNotFound, "labels.csv"),
        ("masks/0003.png", CatalogMalformed, "1 photographs of .* have no mask, the first is '0003'"),
        ("photos", CatalogNotFound, "no photographs"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, breaks: str, error: type[Exception], says: str) -> None:
    folder = drawn_street(tmp_path / "people", count=4).root
    (folder / breaks).rename(folder / "elsewhere")
    with pytest.raises(error, match=says):
        read_street_photographs(folder)


def test_labels_need_their_columns_and_numbers(tmp_path: Path) -> None:
    folder = drawn_street(tmp_path / "people", count=2).root
    for text, says in (
        ("a,b\n1,x\n", "columns index and label"),
        ("index,label\n0,x\n2,y\n", "number its labels from 0"),
    ):
        (folder / "labels.csv").write_text(text, encoding="utf-8")
        with pytest.raises(CatalogMalformed, match=says):
            read_street_photographs(folder)


def test_a_mask_that_does_not_fit_is_named(tmp_path: Path) -> None:
    people = drawn_street(tmp_path / "people", count=2)
    Image.new("L", (20, 20)).save(people.root / "masks" / "0001.png")
    with pytest.raises(CatalogMalformed, match="'0001' differ in size: 90x120 and 20x20"):
        people.outlined("0001")
    Image.new("L", (90, 120), 77).save(people.root / "masks" / "0001.png")
    with pytest.raises(CatalogMalformed, match="has the value 77"):
        people.mask("0001")
    (people.root / "masks" / "0001.png").write_bytes(b"no picture")
    with pytest.raises(CatalogMalformed, match="cannot be read"):
        people.mask("0001")


def test_both_shoes_are_one_garment_and_skin_is_none(photographs: StreetPhotographs) -> None:
    garments = list(street_garments(photographs, ["0001"], least_share=0.001))
    assert [garment.label for garment in garments] == ["shirt", "jeans", "shoes", "bag"]
    shoes = garments[2]
    assert shoes.share == pytest.approx(2 * 10 * 18 / (120 * 90))
    assert shoes.mask.sum() == 2 * 10 * 18
    assert shoes.pixels.shape[:2] == shoes.mask.shape


def test_garments_below_the_least_share_are_left_out(photographs: StreetPhotographs) -> None:
    labels = [garment.label for garment in street_garments(photographs, ["0001"], least_share=0.05)]
    assert labels == ["shirt", "jeans"]


def test_a_street_label_may_be_of_several_article_types_and_one_kind() -> None:
    assert values_of_label("shirt", "articleType") == {"Shirts", "Tops", "Tshirts"}
    assert values_of_label("jeans", "subCategory") == {"Bottomwear"}
    assert values_of_label("nothing", "articleType") == frozenset()
    allowed = allowed_classes(["jeans", "shirt"], "articleType", ["Jeans", "Shirts", "Tops"])
    assert allowed.tolist() == [[True, False, False], [False, True, True]]


def test_a_garment_cut_out_is_alone_on_white(photographs: StreetPhotographs) -> None:
    shirt = next(iter(street_garments(photographs, ["0001"], least_share=0.01)))
    view = plain_view(shirt.pixels, shirt.mask, cut=True, height_px=64, width_px=48)
    assert view.shape == (64, 48, 3)
    assert (view[0] == 255).all()
    color = shirt.pixels[shirt.mask == 1].mean(axis=0)
    assert np.abs(view[32, 24].astype(float) - color).max() < 12


def test_random_views_depend_on_their_generator_only(photographs: StreetPhotographs) -> None:
    shirt = next(iter(street_garments(photographs, ["0001"], least_share=0.01)))
    size = {"height_px": 64, "width_px": 48}
    recipe = StreetRecipe()

    def view(seed: int) -> bytes:
        return random_view(shirt.pixels, shirt.mask, recipe, np.random.default_rng(seed), **size).tobytes()

    assert view(1) == view(1)
    assert len({view(seed) for seed in range(6)}) == 6


def test_views_in_boxes_show_the_background(photographs: StreetPhotographs) -> None:
    bag = list(street_garments(photographs, ["0001"], least_share=0.01))[-1]
    random = np.random.default_rng(0)
    view = random_view(bag.pixels, bag.mask, StreetRecipe(boxes=1.0, coarse=0.0), random, height_px=60, width_px=36)
    assert (view != 255).any(axis=2).mean() > 0.6


def test_colors_are_the_words_whose_products_look_like_the_garment(photographs: StreetPhotographs) -> None:
    words = np.array([[220, 30, 30], [30, 30, 220]], dtype=np.uint8)
    pixels = np.full((40, 32, 24, 3), 255, dtype=np.uint8)
    codes = np.arange(40) % 2
    pixels[:, 6:26, 6:18] = words[codes][:, None, None]
    red, blue = list(street_garments(photographs, ["0001"], least_share=0.05))[:2]
    red.pixels[:], blue.pixels[:] = (200, 40, 50), (40, 50, 190)
    assert street_colors([red, blue], pixels, codes, np.arange(40)).tolist() == [0, 1]
    assert street_colors([red], pixels, np.full(40, UNKNOWN), np.arange(40)).tolist() == [UNKNOWN]
