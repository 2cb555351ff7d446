"""The demo catalogue: the same bytes for the same seed, and pictures that differ as their attributes do."""

from __future__ import annotations

import hashlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrine.catalogs import Catalog, read_catalog
from vitrine.errors import ParameterInvalid
from vitrine.images.decode import decode_image
from vitrine_local.demo_catalog.fabric import PATTERNS
from vitrine_local.demo_catalog.garment import DEFAULT_SIZE, KINDS
from vitrine_local.demo_catalog.generate import draw_garment, generate_catalog
from vitrine_local.demo_catalog.style import COLOURS, GENDERS

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return generate_catalog(tmp_path_factory.mktemp("drawn") / "drawn", count=80, seed=7)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(drawn: Catalog, tmp_path: Path) -> None:
    generate_catalog(tmp_path / "again", count=80, seed=7, processes=2)
    assert digests(tmp_path / "again") == digests(drawn.root)


def test_another_seed_gives_other_pictures(drawn: Catalog, tmp_path: Path) -> None:
    generate_catalog(tmp_path / "other", count=80, seed=8)
    before, after = digests(drawn.root), digests(tmp_path / "other")
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_picture_does_not_depend_on_what_was_drawn_before() -> None:
    expected = draw_garment("Shirts", "Red", "checks", "Men", 3, design=4).tobytes()
    draw_garment("Caps", "Blue")
    assert draw_garment("Shirts", "Red", "checks", "Men", 3, design=4).tobytes() == expected


def test_it_has_the_file_layout_of_the_published_catalogue(drawn: Catalog) -> None:
    assert (drawn.dataset, drawn.reader, drawn.rows, drawn.issues) == ("synthetic", "synthetic", 80, ())
    assert read_catalog("fashion-product", drawn.root).issues == ()
    assert set(digests(drawn.root)) == {"styles.csv", *(product.picture for product in drawn.products)}
    product = drawn.products[0]
    assert {
        "gender",
        "masterCategory",
        "subCategory",
        "articleType",
        "baseColour",
        "season",
        "year",
        "usage",
        "name",
    } == (set(product.attributes))


def test_the_attributes_vary(drawn: Catalog) -> None:
    counts = drawn.attribute_counts()
    assert counts["articleType"].keys() == KINDS.keys()
    assert len(KINDS) >= 8
    assert len(counts["baseColour"]) >= 10
    assert len(counts["gender"]) >= 4
    assert len(counts["season"]) == 4
    words = " ".join(str(product.attributes["name"]) for product in drawn.products)
    assert sum(word in words for word in ("Striped", "Checked", "Polka Dot", "Floral", "Ombre", "Pinstriped")) >= 5
    assert len(set(digests(drawn.root).values())) == 81


def test_designs_come_in_several_pieces(drawn: Catalog) -> None:
    names = [str(product.attributes["name"]) for product in drawn.products]
    assert max(map(names.count, names)) >= 3


def test_the_first_products_include_every_kind(tmp_path: Path) -> None:
    catalog = generate_catalog(tmp_path / "few", count=len(KINDS), seed=0)
    assert len(catalog.attribute_counts()["articleType"]) == len(KINDS)


def test_every_picture_passes_the_decoder_at_its_size(drawn: Catalog) -> None:
    for product in drawn.products:
        assert decode_image(drawn.picture_path(product).read_bytes()).size == DEFAULT_SIZE


def test_a_thousand_pictures_are_drawn_in_seconds(
    tmp_path: Path, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The time is printed but not checked, because the machine may be busy."""
    started = time.perf_counter()
    catalog = generate_catalog(tmp_path / "thousand", count=1000, seed=1, size=(60, 80))
    took_s = time.perf_counter() - started
    record_property("draw_1000_pictures_s", round(took_s, 2))
    with capsys.disabled():
        sys.stdout.write(f"\n1,000 garments of 60 x 80 drawn in {took_s:.1f} s\n")
    assert len(catalog.products) == 1000
    assert len(catalog.attribute_counts()["baseColour"]) == len(COLOURS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.article_type)
def test_each_kind_is_drawn_completely_on_a_light_background(kind: object) -> None:
    article_type = next(name for name, value in KINDS.items() if value is kind)
    for gender in KINDS[article_type].genders:
        for design in range(2):
            pixels = np.asarray(draw_garment(article_type, "Black", gender=gender, design=design, seed=design))
            edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert edge.min() > 190, "the garment is cut off"
            covered = (pixels.min(axis=-1) < 150).mean()
            assert 0.02 < covered < 0.75


def test_no_two_kinds_look_alike() -> None:
    shapes = {
        name: np.asarray(draw_garment(name, "Navy Blue", gender=kind.genders[0]).convert("L"), dtype=float)
        for name, kind in KINDS.items()
    }
    names = list(shapes)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            assert np.abs(shapes[first] - shapes[second]).mean() > 3, (first, second)


def middle(image: Image.Image) -> FloatArray:
    """The mean colour of the fabric, in the middle of the picture."""
    width, height = image.size
    part = np.asarray(image.crop((width // 2 - 12, height // 2 - 12, width // 2 + 12, height // 2 + 12)), dtype=float)
    return np.asarray(part.mean(axis=(0, 1)))


def test_a_colour_looks_more_like_itself_than_like_another() -> None:
    for index, (name, dye) in enumerate(COLOURS.items()):
        drawn = middle(draw_garment("Trousers" if index % 2 else "Tshirts", name, gender="Men", seed=index, design=1))
        nearest = sorted(COLOURS, key=lambda other: float(np.abs(drawn - np.array(COLOURS[other])).sum()))
        assert name in nearest[:3], (name, nearest[:3])
        assert np.abs(drawn - np.array(dye)).max() < 45


def test_no_two_patterns_look_alike() -> None:
    pictures = {
        pattern: np.asarray(draw_garment("Tshirts", "Blue", pattern, "Men").convert("L"), dtype=float)
        for pattern in PATTERNS
    }
    names = list(pictures)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            assert np.abs(pictures[first] - pictures[second]).mean() > 4, (first, second)


def test_each_gender_is_drawn_differently() -> None:
    pictures = {draw_garment("Tshirts", "Teal", gender=gender).tobytes() for gender in GENDERS}
    assert len(pictures) == len(GENDERS)


def test_pieces_of_a_design_are_more_similar_than_other_designs() -> None:
    def small(design: int, piece: int, colour: str) -> FloatArray:
        image = draw_garment("Dresses", colour, "plain", "Women", piece, design=design)
        return np.asarray(image.resize((30, 40), Image.Resampling.BOX), dtype=float)

    own = np.abs(small(1, 0, "Red") - small(1, 1, "Red")).mean()
    assert own > 0.5
    assert own < np.abs(small(1, 0, "Red") - small(2, 1, "Teal")).mean()


@pytest.mark.parametrize(
    "wrong",
    [
        {"article_type": "Hats"},
        {"colour": "Infrared"},
        {"pattern": "tartan"},
        {"gender": "Cats"},
        {"size": (4, 80)},
        {"size": (60, 5000)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_unknown_attributes_are_refused(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"article_type": "Shirts", "colour": "Red"} | wrong
    with pytest.raises(ParameterInvalid):
        draw_garment(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, -1, 1_000_001])
def test_an_invalid_count_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ParameterInvalid, match="count"):
        generate_catalog(tmp_path / "new", count=count, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ParameterInvalid, match="empty"):
        generate_catalog(tmp_path / "mine", count=3, seed=0)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "letter.txt"]


def test_an_empty_folder_and_leftovers_of_a_killed_run_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    leftover = tmp_path / ".new.0123abcd.tmp" / "images"
    leftover.mkdir(parents=True)
    (leftover / "99999.jpg").touch()
    generate_catalog(tmp_path / "new", count=3, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert len(list((tmp_path / "new" / "images").iterdir())) == 3


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid):
        generate_catalog(tmp_path / "new", count=3, seed=0, size=(1, 1))
    assert list(tmp_path.iterdir()) == []


def test_the_pictures_are_plain_jpeg_files_of_the_wanted_size(tmp_path: Path) -> None:
    catalog = generate_catalog(tmp_path / "large", count=2, seed=0, size=(240, 320))
    for product in catalog.products:
        with Image.open(io.BytesIO(catalog.picture_path(product).read_bytes())) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (240, 320))
