"""Products put and deleted through the API: what is kept, what survives a crash, and what is merged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.disks import fill
from harness.overlays import files, picture, product
from vitrine.errors import CatalogMalformed, CatalogRootRefused, ImageRejected, ParameterInvalid, StorageFull
from vitrine.overlay import Overlay, merge
from vitrine.products import AttributeValue, Product


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path / "uploads")


def test_a_product_that_was_put_comes_back(overlay: Overlay, tmp_path: Path) -> None:
    put = overlay.put(product("A 1", gender="Men", year=2012, price=9.5, size="38", stock=-1), picture(5))
    assert put.attributes == {"gender": "Men", "year": 2012, "price": 9.5, "size": "38", "stock": -1}
    for other in (overlay, Overlay(tmp_path / "uploads")):
        assert other.get("shop", "A 1") == put
        assert other.products("shop") == (put,)
        assert not other.is_deleted("shop", "A 1")
    assert overlay.picture_path(put).read_bytes() == picture(5)
    types = {name: type(value) for name, value in overlay.products("shop")[0].attributes.items()}
    assert types == {"gender": str, "year": int, "price": float, "size": str, "stock": int}


def test_nothing_is_written_before_the_first_product(overlay: Overlay) -> None:
    assert overlay.get("shop", "1") is None
    assert overlay.products("shop") == ()
    assert overlay.tombstones("shop") == frozenset()
    assert not overlay.is_deleted("shop", "1")
    assert not overlay.root.exists()


def test_putting_again_replaces_attributes_and_picture(overlay: Overlay) -> None:
    first = overlay.put(product(gender="Men"), picture(1))
    second = overlay.put(product(season="Fall"), picture(2))
    assert overlay.get("shop", "1") == second
    assert second.attributes == {"season": "Fall"}
    assert overlay.picture_path(second).read_bytes() == picture(2)
    assert not (overlay.root / first.picture).exists()
    assert len(files(overlay)) == 3, files(overlay)  # record, picture, lock


def test_putting_the_same_again_changes_nothing(overlay: Overlay) -> None:
    first = overlay.put(product(gender="Men"), picture(1))
    before = {name: (overlay.root / name).read_bytes() for name in files(overlay)}
    assert overlay.put(product(gender="Men"), picture(1)) == first
    assert {name: (overlay.root / name).read_bytes() for name in files(overlay)} == before


@pytest.mark.parametrize(("image_format", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_the_picture_keeps_its_format(overlay: Overlay, image_format: str, suffix: str) -> None:
    assert overlay.put(product(), picture(1, image_format)).picture.endswith(suffix)


def test_deleting_leaves_a_tombstone_and_no_picture(overlay: Overlay) -> None:
    put = overlay.put(product(), picture())
    overlay.delete("shop", "1")
    assert overlay.get("shop", "1") is None
    assert overlay.is_deleted("shop", "1")
    assert overlay.tombstones("shop") == {"1"}
    assert overlay.products("shop") == ()
    assert not (overlay.root / put.picture).exists()


def test_a_product_of_the_catalogue_alone_can_be_deleted_and_twice(overlay: Overlay) -> None:
    overlay.delete("shop", "77")
    overlay.delete("shop", "77")
    assert overlay.tombstones("shop") == {"77"}


def test_putting_a_deleted_product_brings_it_back(overlay: Overlay) -> None:
    overlay.delete("shop", "1")
    put = overlay.put(product(), picture())
    assert (overlay.get("shop", "1"), overlay.tombstones("shop")) == (put, frozenset())


def test_datasets_do_not_mix(overlay: Overlay) -> None:
    overlay.put(product("1", "shop"), picture())
    overlay.delete("other", "1")
    assert overlay.get("other", "1") is None
    assert overlay.tombstones("shop") == frozenset()
    assert not overlay.is_deleted("shop", "1")


def test_ids_that_look_alike_stay_apart(overlay: Overlay) -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    ids = ["a", "A", "a~", "%61", "\u00e4", "a.b", ".a", "...", "~", "record.json", ".lock", composed, decomposed]
    ids += ["x" * 200, "x" * 199]
    for number, product_id in enumerate(ids):
        overlay.put(product(product_id, size=number), picture(number))
    assert len({item.picture.lower() for item in overlay.products("shop")}) == len(ids)
    for number, product_id in enumerate(ids):
        found = overlay.get("shop", product_id)
        assert found is not None
        assert (found.id, found.attributes["size"]) == (product_id, number)
        assert overlay.picture_path(found).read_bytes() == picture(number)


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "../1", "a/b", "/etc", "a\\b", "a\0", "a\n", " a", "x" * 201, "a\ud800"]
)
def test_an_id_that_could_leave_its_folder_is_refused(overlay: Overlay, bad: str) -> None:
    with pytest.raises(ParameterInvalid):
        overlay.put(product(bad), picture())
    for call in (overlay.delete, overlay.get, overlay.is_deleted):
        with pytest.raises(ParameterInvalid):
            call("shop", bad)
    assert not overlay.root.exists()


@pytest.mark.parametrize("bad", ["", "..", "a/b", "../shop", ".lock", "a--b", "a\0"])
def test_a_dataset_that_could_leave_its_folder_is_refused(overlay: Overlay, bad: str) -> None:
    with pytest.raises(ParameterInvalid):
        overlay.put(product("1", bad), picture())
    for call in (overlay.products, overlay.tombstones):
        with pytest.raises(ParameterInvalid):
            call(bad)
    assert not overlay.root.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", 1), ("a b", 1), ("price", float("nan")), ("price", float("inf")), ("stock", 2**63), ("fit", "\ud800")],
)
def test_an_attribute_that_cannot_be_stored_is_refused(overlay: Overlay, name: str, value: AttributeValue) -> None:
    with pytest.raises(ParameterInvalid):
        overlay.put(Product("shop", "1", "", {name: value}), picture())
    assert not overlay.root.exists()


def test_a_file_that_is_no_picture_is_refused_and_the_old_one_stays(overlay: Overlay) -> None:
    put = overlay.put(product(), picture())
    for data in (b"", b"no picture", picture()[:-30]):
        with pytest.raises(ImageRejected):
            overlay.put(product(), data)
    assert overlay.get("shop", "1") == put


def test_a_picture_path_out_of_the_uploads_is_refused(overlay: Overlay, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    overlay.put(product(), picture())
    with pytest.raises(CatalogRootRefused):
        overlay.picture_path(Product("shop", "1", "../secret.png"))


def test_a_record_that_somebody_damaged_is_told_by_its_path(overlay: Overlay) -> None:
    put = overlay.put(product(), picture())
    record = (overlay.root / put.picture).with_name("record.json")
    record.write_text("{")
    with pytest.raises(CatalogMalformed, match=r"record\.json"):
        overlay.get("shop", "1")


def test_the_record_is_plain_json(overlay: Overlay) -> None:
    put = overlay.put(product("ä 1", gender="Men"), picture())
    record = json.loads((overlay.root / put.picture).with_name("record.json").read_bytes())
    assert record == {
        "schema_version": 1,
        "dataset": "shop",
        "product_id": "ä 1",
        "picture": put.picture.rsplit("/", 1)[1],
        "attributes": {"gender": "Men"},
    }


def test_folders_that_are_no_products_are_passed_over(overlay: Overlay) -> None:
    put = overlay.put(product(), picture())
    (overlay.root / "shop" / "lost+found").mkdir()
    (overlay.root / "shop" / "link").symlink_to("/etc")
    assert overlay.products("shop") == (put,)


def test_merging_puts_uploads_over_the_catalogue(overlay: Overlay) -> None:
    catalog = [Product("shop", number, f"images/{number}.jpg", {"gender": "Men"}) for number in "123"]
    changed = overlay.put(product("2", gender="Women"), picture())
    added = overlay.put(product("9"), picture())
    overlay.delete("shop", "3")
    overlay.delete("shop", "88")
    overlay.put(product("7", "other"), picture())
    assert merge(catalog, overlay, "shop") == [(catalog[0], "catalog"), (changed, "upload"), (added, "upload")]


def test_merging_with_nothing_is_the_catalogue(overlay: Overlay) -> None:
    catalog = [Product("shop", "1", "images/1.jpg")]
    assert merge(iter(catalog), overlay, "shop") == [(catalog[0], "catalog")]
    assert merge([], overlay, "shop") == []


def test_a_product_that_finds_no_room_is_refused_and_the_one_before_stays(small_disk: Path) -> None:
    overlay = Overlay(small_disk / "uploads", reserve_bytes=256 * 1024)
    before = overlay.put(product(size=1), picture(1))
    filling = fill(small_disk)
    with pytest.raises(StorageFull, match=f"{small_disk}.*VITRINE_UPLOADS_DIR"):
        overlay.put(product(size=2), picture(2))
    assert overlay.products("shop") == (before,)
    assert overlay.picture_path(before).read_bytes() == picture(1)
    without_reserve = Overlay(small_disk / "uploads")
    with pytest.raises(StorageFull, match="VITRINE_UPLOADS_DIR"):
        without_reserve.delete("shop", "other")
    filling.unlink()
    assert overlay.put(product(size=2), picture(2)) == overlay.get("shop", before.id)


def test_a_deletion_is_undone_and_a_put_is_not(overlay: Overlay) -> None:
    overlay.put(product("1"), picture())
    overlay.delete("shop", "2")
    assert not overlay.restore("shop", "1")
    assert not overlay.restore("shop", "3")
    assert overlay.restore("shop", "2")
    assert not overlay.restore("shop", "2")
    assert overlay.tombstones("shop") == frozenset()
    assert overlay.get("shop", "1") is not None


def test_the_uploads_of_each_dataset_are_counted_and_dropped(overlay: Overlay) -> None:
    assert overlay.counts() == {}
    overlay.drop("shop")
    overlay.put(product("1"), picture())
    overlay.delete("shop", "2")
    overlay.put(product("1", dataset="other"), picture())
    assert overlay.counts() == {"shop": (1, 1), "other": (1, 0)}
    overlay.drop("shop")
    assert overlay.counts() == {"other": (1, 0)}
    assert not [name for name in files(overlay) if not name.startswith("other/")]
