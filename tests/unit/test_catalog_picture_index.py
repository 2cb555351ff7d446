"""Finding the pictures that tables name, in whatever form they name them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pictures import encoded, gradient
from vitrine.catalogs import read_catalog
from vitrine.catalogs.file_names import Lookup
from vitrine.catalogs.picture_index import PictureIndex
from vitrine.catalogs.reference_paths import stem_of
from vitrine.images.formats import PICTURE_SUFFIXES


def folder_of(root: Path, *paths: str) -> PictureIndex:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return PictureIndex(root.resolve())


NFC = "Bluse-é.jpg"
NFD = unicodedata.normalize("NFD", NFC)


@pytest.mark.parametrize(
    ("reference", "lies_at"),
    [
        ("shoe-1.jpg", "images/shoe-1.JPG"),
        ("SHOE-1", "images/shoe-1.jpg"),
        (NFC, f"images/{NFD}"),
        (NFD, f"images/{NFC}"),
        (NFC.upper(), f"images/{NFD}"),
        ("STRASSE.jpg", "images/straße.jpg"),
        ("red%20dress.jpg", "images/red dress.jpg"),
        ("red%2520dress.jpg", "images/red dress.jpg"),
        ("red%20dress.jpg", "images/red%20dress.jpg"),
        ("red+dress.jpg", "images/red dress.jpg"),
        ("Bluse-%E9.jpg", f"images/{NFC}"),
        ("Bluse-%C3%A9.jpg", f"images/{NFC}"),
        ("images\\hat.jpg", "images/hat.jpg"),
        (".\\hat.jpg", "images/hat.jpg"),
        ("C:\\Users\\shop\\pictures\\hat.jpg", "images/hat.jpg"),
        ("\\\\server\\share\\hat.jpg", "images/hat.jpg"),
        ("./images/hat.jpg", "images/hat.jpg"),
        ("/images/hat.jpg", "images/hat.jpg"),
        ("/var/www/shop/images/hat.jpg", "images/hat.jpg"),
        ("file:///var/www/shop/hat.jpg", "images/hat.jpg"),
        ("file:///C:/shop/hat%201.jpg", "images/hat 1.jpg"),
        ("images//hat.jpg", "images/hat.jpg"),
        ("hat.jpg?v=2", "images/hat.jpg"),
        ("hat.jpg#front", "images/hat.jpg"),
        ("what?.jpg", "images/what?.jpg"),
        ("tee#1.jpg", "images/tee#1.jpg"),
        ("coat.jpg", "images/coat.webp"),
        ("coat.jpg", "images/coat.HEIC"),
        ("coat", "deep/er/and/deeper/coat.jpeg"),
        ("belt.jfif", "images/belt.jfif"),
        ("belt", "images/belt.AVIF"),
        ("Images/hat.jpg", "images/hat.jpg"),
        ("photos/hat.jpg", "images/2024/hat.jpg"),
        ("men/hat.jpg", "Images/Men/hat.jpg"),
        ("https://cdn.shop.com/s/files/1/0001/products/hat.jpg?v=1699999999", "images/hat.jpg"),
        ("//cdn.shop.com/hat.jpg", "images/hat.jpg"),
        ("s3://bucket/shop/hat.jpg", "images/hat.jpg"),
        ("https://shop.com/a/b/red%20hat.jpg?width=600&height=600#top", "images/red hat.jpg"),
        ("https://shop.com/a/b/hat", "images/hat.png"),
        ("https://shop.com/_next/image?url=%2Fmedia%2Fhat.jpg&w=640", "images/hat.jpg"),
        ("https://shop.com/picture.php?file=hat.jpg", "images/hat.jpg"),
        ("https://cdn.shop.com/hat_600x600.jpg", "images/hat.jpg"),
        ("https://shop.com/wp-content/uploads/2017/12/hat-300x300.jpg", "uploads/2017/12/hat.jpg"),
        ("https://[broken/hat.jpg", "images/hat.jpg"),
        ("  hat.jpg\t", "images/hat.jpg"),
        ("0108775015", "images/010/0108775015.jpg"),
        ("12.0", "images/12.0.jpg"),
        ("a%b&c.jpg", "images/a%b&c.jpg"),
    ],
)
def test_a_picture_is_found_whatever_form_its_reference_has(tmp_path: Path, reference: str, lies_at: str) -> None:
    pictures = folder_of(tmp_path, lies_at, "images/other.jpg")
    found = pictures.lookup(reference)
    assert (found.found, found.picture) == ("found", lies_at)


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_suffix_of_a_picture_is_found_without_it_and_in_capitals(tmp_path: Path, suffix: str) -> None:
    pictures = folder_of(tmp_path, f"images/hat{suffix.upper()}")
    assert pictures.lookup("hat").picture == f"images/hat{suffix.upper()}"
    assert pictures.lookup(f"hat{suffix}").picture == f"images/hat{suffix.upper()}"


def test_the_exact_path_comes_first_then_the_folder_of_pictures_then_the_name(tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, "hat.jpg", "images/hat.jpg", "images/tie.jpg", "old/tie.jpg", "old/bag.jpg")
    assert [pictures.lookup(name).picture for name in ("hat.jpg", "tie.jpg", "bag.jpg")] == [
        "hat.jpg", "images/tie.jpg", "old/bag.jpg",
    ]  # fmt: skip


def test_of_several_files_with_a_name_the_one_with_the_folders_of_the_reference_is_chosen(tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, "uploads/2017/12/hat.jpg", "uploads/2018/12/hat.jpg", "uploads/2018/01/hat.jpg")
    link = "https://shop.com/wp-content/uploads/2018/12/hat.jpg"
    assert pictures.lookup(link) == Lookup("found", "uploads/2018/12/hat.jpg")
    assert pictures.lookup("2018/01/hat.jpg") == Lookup("found", "uploads/2018/01/hat.jpg")


@pytest.mark.parametrize("reference", ["hat.jpg", "hat", "https://shop.com/hat.jpg", "12/hat.webp"])
def test_a_name_that_several_files_have_is_ambiguous_and_names_them(tmp_path: Path, reference: str) -> None:
    pictures = folder_of(tmp_path, "2017/12/hat.jpg", "2018/12/hat.jpg", "2018/12/tie.jpg")
    found = pictures.lookup(reference)
    assert found.found == "ambiguous"
    assert "2017/12/hat.jpg, 2018/12/hat.jpg" in found.detail


def test_two_files_that_differ_in_case_alone_are_told_apart_by_the_exact_name(tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, "deep/Hat.jpg", "deep/hat.jpg")
    if len(os.listdir(tmp_path / "deep")) == 1:  # noqa: PTH208 - the file system ignores case
        pytest.skip("this file system does not tell upper from lower case")
    assert pictures.lookup("Hat.jpg").picture == "deep/Hat.jpg"
    assert pictures.lookup("HAT.jpg").found == "ambiguous"


def test_another_product_s_picture_in_a_folder_beside_is_not_taken(tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, "images/women/1.jpg", "images/men/2.jpg")
    missing = pictures.lookup("men/1.jpg")
    assert missing.found == "missing"
    assert "'1.jpg' among 2 files" in missing.detail


def test_a_match_by_name_alone_is_marked(tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, "images/summer/hat.jpg", "images/tie.jpg")
    assert pictures.lookup("https://cdn.com/products/hat.jpg").by_name
    assert not pictures.lookup("https://cdn.com/images/tie.jpg").by_name
    assert not pictures.lookup("hat.jpg").by_name


@pytest.mark.parametrize("folder", [".cache", "__MACOSX", "other-shop"])
def test_hidden_folders_and_other_catalogues_are_not_searched_by_name(tmp_path: Path, folder: str) -> None:
    pictures = folder_of(tmp_path, f"{folder}/hat.jpg", f"{folder}/products.csv", "products.csv", "images/tie.jpg")
    assert pictures.lookup("hat.jpg").found == "missing"
    assert pictures.lookup(f"{folder}/hat.jpg").found == "found"


@pytest.mark.parametrize(
    ("name", "content", "format_name"),
    [
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("drawing.svg", b"", "empty"),
        ("sheet.pdf", b"%PDF-1.7", "PDF"),
        ("film.mp4", b"\0\0\0\x20ftypisom", "video"),
        ("raw.nef", b"\x01\x02", "RAW"),
        ("words", b"these are words", "unknown format"),
    ],
)
def test_a_file_that_is_there_and_is_no_picture_is_unsupported_by_name(
    tmp_path: Path, name: str, content: bytes, format_name: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_bytes(content)
    for reference in (name, name.upper(), f"https://cdn.com/{name}?v=1", Path(name).stem):
        found = PictureIndex(tmp_path).lookup(reference)
        assert found.found == "unsupported", reference
        assert f"images/{name} is" in found.detail
        assert format_name in found.detail


def test_a_picture_with_another_suffix_is_taken_before_a_file_of_another_format(tmp_path: Path) -> None:
    pictures = folder_of(tmp_path, "images/hat.svg", "images/hat.png")
    assert pictures.lookup("hat").picture == "images/hat.png"


@pytest.mark.parametrize("name", ["0a1b2c", "photo.jpg_large", "hat.php"])
def test_a_picture_without_the_suffix_of_one_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(gradient(32, 32), "JPEG"))
    assert PictureIndex(tmp_path).lookup(name).picture == name
    assert PictureIndex(tmp_path).lookup(f"https://cdn.com/{name}").picture == name


@pytest.mark.parametrize("reference", ["", "  ", "none.jpg", "https://cdn.com/none.jpg", "https://", "//", "/", "?",
                                       "#", "images", "%", "%zz", "."])  # fmt: skip
def test_what_is_nowhere_is_missing(tmp_path: Path, reference: str) -> None:
    found = folder_of(tmp_path, "images/hat.jpg").lookup(reference)
    assert found.found in {"missing", "unsafe"}
    assert found.detail


def test_links_out_of_the_folder_are_never_found(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "hat.jpg").touch()
    root = tmp_path / "shop"
    folder_of(root, "images/tie.jpg")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "images" / "hat.jpg").symlink_to(tmp_path / "secret" / "hat.jpg")
    (root / "images" / "inside.jpg").symlink_to(root / "images" / "tie.jpg")
    (root / "images" / "loop").symlink_to(root / "images" / "loop")
    os.mkfifo(root / "images" / "pipe.jpg")
    pictures = PictureIndex(root.resolve())
    for reference in ("hat.jpg", "out/hat.jpg", "images/hat.jpg", "../secret/hat.jpg", "%2e%2e/secret/hat.jpg",
                      "pipe.jpg", "images/pipe.jpg"):  # fmt: skip
        assert pictures.lookup(reference).found == "unsafe", reference
    assert pictures.lookup("https://cdn.com/HAT.jpg").found == "missing"
    assert pictures.lookup("https://cdn.com/inside.jpg").found == "found"


def test_the_name_of_a_reference_is_its_file_s_without_suffix() -> None:
    references = ("men/hat.jpg", "hat.jpg?v=1", "https://cdn.com/a/hat.v2.jpg?v=1", "a\\hat%20two.HEIC", "hat.v3", "")
    assert [stem_of(reference) for reference in references] == ["hat", "hat", "hat.v2", "hat%20two", "hat.v3", ""]


def test_a_catalogue_with_pictures_named_in_ten_ways_is_read_whole(tmp_path: Path) -> None:
    folder_of(tmp_path, "images/a.JPG", f"images/{NFD}", "images/red coat.jpg", "images/hat.jpg", "images/coat.webp",
              "images/tie.jpg", "images/bag.jpg", "images/scarf.jpg", "images/belt.jfif",
              "images/x/y/cap.png")  # fmt: skip
    references = ("a.jpg", NFC, "red%20coat.jpg", "images\\hat.jpg", "coat.jpg", "./images/tie.jpg", "/images/bag.jpg",
                  "scarf.jpg?v=2", "belt.jfif", "https://cdn.com/cap.jpg")  # fmt: skip
    rows = "".join(f"p{number},{reference}\n" for number, reference in enumerate(references))
    (tmp_path / "products.csv").write_text(f"id,image\n{rows}", encoding="utf-8")
    catalog = read_catalog("folder", tmp_path)
    assert len(catalog.products) == 10
    assert not catalog.issues


@given(reference=st.text(max_size=60) | st.lists(st.sampled_from(
    ["https:", "/", "//", "..", ".", "images", "hat", ".jpg", "?", "#", "%2f", "%00", "\\", ":", "é", "[", "C:", "\0"]
), max_size=12).map("".join))  # fmt: skip
def test_no_reference_raises_or_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, reference: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "any-reference"
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "images" / "hat.jpg").touch()
    found = PictureIndex(root.resolve()).lookup(reference)
    assert found.found != "found" or found.picture == "images/hat.jpg"
    stem_of(reference)
