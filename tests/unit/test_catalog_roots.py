"""Allowed folders of catalogues and pictures: a path that leaves its root is refused."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from vitrine import safe_read
from vitrine.catalogs import allowed_roots, read_picture, resolve_catalog_root, resolve_picture, roots
from vitrine.errors import CatalogNotFound, CatalogRootRefused, ImageRejected, PictureNotFound, SettingsInvalid
from vitrine.settings import CommonSettings


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An allowed folder with a catalogue, and a secret folder outside it."""
    shop = (tmp_path / "shop").resolve()
    (shop / "summer" / "images").mkdir(parents=True)
    (shop / "summer" / "images" / "1.jpg").write_bytes(b"a picture")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "1.jpg").write_bytes(b"a secret")
    (tmp_path / "shop-of-others").mkdir()
    return shop


def test_an_allowed_folder_and_those_below_it_are_resolved(shop: Path) -> None:
    assert resolve_catalog_root(shop, [shop]) == shop
    assert resolve_catalog_root(str(shop / "summer"), [shop.parent / "secret", shop]) == shop / "summer"
    assert resolve_catalog_root(shop / "summer" / ".." / "summer", [shop]) == shop / "summer"


@pytest.mark.parametrize(
    "path", ["..", "../secret", "summer/../../secret", "../shop-of-others", "/", "/etc", "../nowhere"]
)
def test_a_folder_outside_is_refused_whether_it_exists_or_not(shop: Path, path: str) -> None:
    with pytest.raises(CatalogRootRefused, match="outside the allowed"):
        resolve_catalog_root(shop / path, [shop])


def test_a_link_out_is_refused_and_a_link_within_is_followed(shop: Path) -> None:
    (shop / "out").symlink_to(shop.parent / "secret")
    (shop / "in").symlink_to(shop / "summer")
    with pytest.raises(CatalogRootRefused):
        resolve_catalog_root(shop / "out", [shop])
    assert resolve_catalog_root(shop / "in", [shop]) == shop / "summer"


def test_an_allowed_folder_may_itself_be_a_link(shop: Path) -> None:
    (shop.parent / "link").symlink_to(shop)
    assert resolve_catalog_root(shop.parent / "link" / "summer", [shop.parent / "link"]) == shop / "summer"


def test_without_allowed_folders_everything_is_refused(shop: Path) -> None:
    with pytest.raises(CatalogRootRefused, match="VITRINE_CATALOG_ROOTS"):
        resolve_catalog_root(shop, [])


def test_a_missing_folder_or_a_file_in_its_place_is_not_found(shop: Path) -> None:
    for path in ("winter", "summer/images/1.jpg"):
        with pytest.raises(CatalogNotFound):
            resolve_catalog_root(shop / path, [shop])


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "a/" * 3000, "a\ud800", "loop"])
def test_a_path_that_the_operating_system_rejects_is_refused(shop: Path, name: str) -> None:
    (shop / "loop").symlink_to("loop")
    with pytest.raises((CatalogRootRefused, CatalogNotFound)):
        resolve_catalog_root(f"{shop}/{name}", [shop])


def test_a_picture_is_found_and_read(shop: Path) -> None:
    root = shop / "summer"
    assert resolve_picture(root, "images/1.jpg") == root / "images" / "1.jpg"
    assert read_picture(root, "images/1.jpg") == b"a picture"


@pytest.mark.parametrize(
    "picture",
    [
        "",
        "/etc/passwd",
        "../secret/1.jpg",
        "images/../../../secret/1.jpg",
        "images/../images/1.jpg",
        "..",
        "images\\1.jpg",
        "a\0b",
        "//etc/passwd",
    ],
)
def test_a_picture_path_that_could_leave_the_root_is_refused(shop: Path, picture: str) -> None:
    with pytest.raises(CatalogRootRefused):
        resolve_picture(shop / "summer", picture)


def test_a_picture_link_out_is_refused_and_one_within_is_followed(shop: Path) -> None:
    images = shop / "summer" / "images"
    (images / "out.jpg").symlink_to(shop.parent / "secret" / "1.jpg")
    (images / "folder").symlink_to(shop.parent / "secret")
    (images / "in.jpg").symlink_to("1.jpg")
    for picture in ("images/out.jpg", "images/folder/1.jpg"):
        with pytest.raises(CatalogRootRefused, match="link out"):
            read_picture(shop / "summer", picture)
    assert read_picture(shop / "summer", "images/in.jpg") == b"a picture"


@pytest.mark.parametrize(
    "picture", ["images/2.jpg", "images", ".", "a" * 300, "a/" * 3000 + "b", "a\ud800", "loop", "pipe"]
)
def test_a_file_that_is_not_regular_is_not_found(shop: Path, picture: str) -> None:
    (shop / "summer" / "loop").symlink_to("loop")
    os.mkfifo(shop / "summer" / "pipe")
    with pytest.raises(PictureNotFound):
        read_picture(shop / "summer", picture)


@pytest.fixture(params=["openat2", "by folders"])
def way_to_open(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to open without links: by the kernel, and for kernels without that call."""
    if request.param == "by folders":
        monkeypatch.setattr(safe_read, "_open", safe_read._open_by_folders)
    elif sys.platform != "linux":
        pytest.skip("openat2 is a call of Linux")


@pytest.mark.usefixtures("way_to_open")
@pytest.mark.parametrize("swapped_for", ["link", "pipe", "folder", "root"])
def test_a_picture_that_is_swapped_before_it_is_opened_is_not_read(
    shop: Path, monkeypatch: pytest.MonkeyPatch, swapped_for: str
) -> None:
    path = shop / "summer" / "images" / "1.jpg"

    def checked_then_swapped(root: Path, picture: str) -> Path:
        found = resolve_picture(root, picture)
        if swapped_for == "folder":
            path.parent.rename(shop / "away")
            path.parent.symlink_to(shop.parent / "secret")
        elif swapped_for == "root":
            root.rename(shop / "away")
            (shop.parent / "secret" / "images").symlink_to(shop.parent / "secret")
            root.symlink_to(shop.parent / "secret")
        else:
            path.unlink()
            if swapped_for == "link":
                path.symlink_to(shop.parent / "secret" / "1.jpg")
            else:
                os.mkfifo(path)
        return found

    monkeypatch.setattr(roots, "resolve_picture", checked_then_swapped)
    with pytest.raises(PictureNotFound):
        read_picture(shop / "summer", "images/1.jpg")


@pytest.mark.usefixtures("way_to_open")
def test_a_folder_repeatedly_swapped_for_a_link_never_exposes_the_target(shop: Path) -> None:
    images, away = shop / "summer" / "images", shop / "away"
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            images.rename(away)
            images.symlink_to(shop.parent / "secret")
            images.unlink()
            away.rename(images)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(3000):
            try:
                assert read_picture(shop / "summer", "images/1.jpg") == b"a picture"
            except (PictureNotFound, CatalogRootRefused):
                continue
    finally:
        done.set()
        swapping.join()
    assert read_picture(shop / "summer", "images/1.jpg") == b"a picture"


def test_a_root_that_has_become_a_link_is_refused(shop: Path) -> None:
    root = resolve_catalog_root(shop / "summer", [shop])
    root.rename(shop / "away")
    root.symlink_to(shop / "away")
    with pytest.raises(CatalogRootRefused, match="was replaced by a link"):
        read_picture(root, "images/1.jpg")


def test_a_picture_file_that_is_too_large_is_not_read_completely(shop: Path) -> None:
    with pytest.raises(ImageRejected) as caught:
        read_picture(shop / "summer", "images/1.jpg", max_bytes=8)
    assert caught.value.reason == "bytes_exceeded"
    assert read_picture(shop / "summer", "images/1.jpg", max_bytes=9) == b"a picture"


def settings(folders: tuple[Path, ...], roots_file: Path | None) -> CommonSettings:
    return CommonSettings(catalog_roots=folders, catalog_roots_file=roots_file)


def test_the_roots_of_the_settings_and_of_the_file_are_both_allowed(tmp_path: Path) -> None:
    file = tmp_path / "roots"
    file.write_text("# a remark\n\n/b\n  /c d  \n/a\n")
    assert allowed_roots(settings((Path("/a"),), file)) == (Path("/a"), Path("/b"), Path("/c d"))
    assert allowed_roots(settings((Path("/a"),), None)) == (Path("/a"),)


def test_the_file_of_roots_is_read_again_each_time(tmp_path: Path) -> None:
    file = tmp_path / "roots"
    assert allowed_roots(settings((), file)) == ()
    file.write_text("/b\n")
    assert allowed_roots(settings((), file)) == (Path("/b"),)


def test_a_root_that_is_not_utf_8_keeps_its_name(tmp_path: Path) -> None:
    file = tmp_path / "roots"
    file.write_bytes(b"/gr\xf6\xdfe\n")
    assert os.fsencode(allowed_roots(settings((), file))[0]) == b"/gr\xf6\xdfe"


def test_a_file_of_roots_that_cannot_be_read_completely_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "roots"
    file.write_bytes(b"#" * 999_995 + b"\n/data/secret-not\n")
    with pytest.raises(SettingsInvalid, match="more than"):
        allowed_roots(settings((), file))
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        allowed_roots(settings((), tmp_path))
