"""Products put and deleted through the API: stored files, crash safety, and the merge with the catalogue."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from harness.disks import fill
from harness.upload_files import files, picture, product
from harness.waiting import HUNG_AFTER_S
from vitrine.errors import CatalogRootRefused, ImageRejected, ParameterInvalid, StorageFull
from vitrine.products import AttributeValue, Product
from vitrine.uploads.store import UploadStore, merge


@pytest.fixture
def upload_store(tmp_path: Path) -> UploadStore:
    return UploadStore(tmp_path / "uploads")


def test_a_stored_product_is_read_back(upload_store: UploadStore, tmp_path: Path) -> None:
    put = upload_store.put(product("A 1", gender="Men", year=2012, price=9.5, size="38", stock=-1), picture(5))
    assert put.attributes == {"gender": "Men", "year": 2012, "price": 9.5, "size": "38", "stock": -1}
    for other in (upload_store, UploadStore(tmp_path / "uploads")):
        assert other.get("shop", "A 1") == put
        assert other.products("shop") == (put,)
        assert not other.is_deleted("shop", "A 1")
    assert upload_store.picture_path(put).read_bytes() == picture(5)
    types = {name: type(value) for name, value in upload_store.products("shop")[0].attributes.items()}
    assert types == {"gender": str, "year": int, "price": float, "size": str, "stock": int}


def test_nothing_is_written_before_the_first_product(upload_store: UploadStore) -> None:
    assert upload_store.get("shop", "1") is None
    assert upload_store.products("shop") == ()
    assert upload_store.tombstones("shop") == frozenset()
    assert not upload_store.is_deleted("shop", "1")
    assert not upload_store.root.exists()


def test_putting_again_replaces_attributes_and_picture(upload_store: UploadStore) -> None:
    first = upload_store.put(product(gender="Men"), picture(1))
    second = upload_store.put(product(season="Fall"), picture(2))
    assert upload_store.get("shop", "1") == second
    assert second.attributes == {"season": "Fall"}
    assert upload_store.picture_path(second).read_bytes() == picture(2)
    assert not (upload_store.root / first.picture).exists()
    assert len(files(upload_store)) == 3, files(upload_store)  # record, picture, lock


def test_putting_the_same_again_changes_nothing(upload_store: UploadStore) -> None:
    first = upload_store.put(product(gender="Men"), picture(1))
    before = {name: (upload_store.root / name).read_bytes() for name in files(upload_store)}
    assert upload_store.put(product(gender="Men"), picture(1)) == first
    assert {name: (upload_store.root / name).read_bytes() for name in files(upload_store)} == before


@pytest.mark.parametrize(("image_format", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")])
def test_the_picture_keeps_its_format(upload_store: UploadStore, image_format: str, suffix: str) -> None:
    assert upload_store.put(product(), picture(1, image_format)).picture.endswith(suffix)


def test_deleting_leaves_a_tombstone_and_no_picture(upload_store: UploadStore) -> None:
    put = upload_store.put(product(), picture())
    upload_store.delete("shop", "1")
    assert upload_store.get("shop", "1") is None
    assert upload_store.is_deleted("shop", "1")
    assert upload_store.tombstones("shop") == {"1"}
    assert upload_store.products("shop") == ()
    assert not (upload_store.root / put.picture).exists()


def test_a_product_that_is_only_in_the_catalogue_can_be_deleted_twice(upload_store: UploadStore) -> None:
    upload_store.delete("shop", "77")
    upload_store.delete("shop", "77")
    assert upload_store.tombstones("shop") == {"77"}


def test_putting_a_deleted_product_restores_it(upload_store: UploadStore) -> None:
    upload_store.delete("shop", "1")
    put = upload_store.put(product(), picture())
    assert (upload_store.get("shop", "1"), upload_store.tombstones("shop")) == (put, frozenset())


def test_datasets_are_kept_separate(upload_store: UploadStore) -> None:
    upload_store.put(product("1", "shop"), picture())
    upload_store.delete("other", "1")
    assert upload_store.get("other", "1") is None
    assert upload_store.tombstones("shop") == frozenset()
    assert not upload_store.is_deleted("shop", "1")


def test_similar_ids_are_kept_separate(upload_store: UploadStore) -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    ids = ["a", "A", "a~", "%61", "\u00e4", "a.b", ".a", "...", "~", "record.json", ".lock", composed, decomposed]
    ids += ["x" * 200, "x" * 199]
    for number, product_id in enumerate(ids):
        upload_store.put(product(product_id, size=number), picture(number))
    assert len({item.picture.lower() for item in upload_store.products("shop")}) == len(ids)
    for number, product_id in enumerate(ids):
        found = upload_store.get("shop", product_id)
        assert found is not None
        assert (found.id, found.attributes["size"]) == (product_id, number)
        assert upload_store.picture_path(found).read_bytes() == picture(number)


@pytest.mark.parametrize("product_id", ["a/b", "/etc", "a\\b", "a//b"])
def test_an_id_with_slashes_stays_in_its_folder(upload_store: UploadStore, product_id: str) -> None:
    upload_store.put(product(product_id), picture())
    found = upload_store.get("shop", product_id)
    assert found is not None
    assert upload_store.picture_path(found).parent.parent == upload_store.root / "shop"
    assert found.picture.count("/") == 2


@pytest.mark.parametrize("bad", ["", ".", "..", "../1", "a/../b", "a\0", "a\n", " a", "x" * 201, "a\ud800"])
def test_an_id_that_no_address_can_carry_is_refused(upload_store: UploadStore, bad: str) -> None:
    with pytest.raises(ParameterInvalid):
        upload_store.put(product(bad), picture())
    for call in (upload_store.delete, upload_store.get, upload_store.is_deleted):
        with pytest.raises(ParameterInvalid):
            call("shop", bad)
    assert not upload_store.root.exists()


@pytest.mark.parametrize("bad", ["", "..", "a/b", "../shop", ".lock", "a--b", "a\0"])
def test_a_dataset_that_could_leave_its_folder_is_refused(upload_store: UploadStore, bad: str) -> None:
    with pytest.raises(ParameterInvalid):
        upload_store.put(product("1", bad), picture())
    for call in (upload_store.products, upload_store.tombstones):
        with pytest.raises(ParameterInvalid):
            call(bad)
    assert not upload_store.root.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", 1), ("a b", 1), ("price", float("nan")), ("price", float("inf")), ("stock", 2**63), ("fit", "\ud800")],
)
def test_an_attribute_that_cannot_be_stored_is_refused(
    upload_store: UploadStore, name: str, value: AttributeValue
) -> None:
    with pytest.raises(ParameterInvalid):
        upload_store.put(Product("shop", "1", "", {name: value}), picture())
    assert not upload_store.root.exists()


def test_a_file_that_is_not_a_picture_is_refused_and_the_old_one_is_kept(upload_store: UploadStore) -> None:
    put = upload_store.put(product(), picture())
    for data in (b"", b"no picture", picture()[:-30]):
        with pytest.raises(ImageRejected):
            upload_store.put(product(), data)
    assert upload_store.get("shop", "1") == put


def test_a_picture_path_out_of_the_uploads_is_refused(upload_store: UploadStore, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    upload_store.put(product(), picture())
    with pytest.raises(CatalogRootRefused):
        upload_store.picture_path(Product("shop", "1", "../secret.png"))


def folder_of(upload_store: UploadStore, product_id: str) -> Path:
    """The folder of a product of the shop, stored or deleted."""
    [folder] = (upload_store.root / "shop").glob(f"{product_id}*~*")
    return folder


def replacing(old: str, new: str) -> Callable[[Path], object]:
    return lambda record: record.write_text(record.read_text().replace(old, new))


def replaced_by(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(record: Path) -> None:
        record.unlink()
        make(record)

    return replace


DAMAGES: dict[str, Callable[[Path], object]] = {
    "half of it": lambda record: record.write_bytes(record.read_bytes()[:20]),
    "zeros": lambda record: record.write_bytes(bytes(100)),
    "another version": replacing('"schema_version": 1', '"schema_version": 9'),
    "another product's": replacing('"product_id": "1"', '"product_id": "7"'),
    "a number too large": replacing('"size": 1', f'"size": {2**70}'),
    "a picture elsewhere": replacing('"picture": "', '"picture": "../'),
    "a folder": replaced_by(Path.mkdir),
    "a pipe": replaced_by(os.mkfifo),
    "a link": replaced_by(lambda record: record.symlink_to("/etc/hostname")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_record_hides_only_its_product_until_it_is_put_again(
    upload_store: UploadStore, damage: Callable[[Path], object]
) -> None:
    upload_store.put(product("1", size=1), picture(1))
    other = upload_store.put(product("2"), picture(2))
    upload_store.delete("shop", "3")
    damage(folder_of(upload_store, "1") / "record.json")
    assert upload_store.get("shop", "1") is None
    assert not upload_store.is_deleted("shop", "1")
    uploads = upload_store.uploads("shop")
    assert uploads.products == {"2": other}
    assert uploads.deleted == {"3"}
    [damaged] = uploads.damaged
    assert (damaged.product_id, damaged.deleted) == ("1", False)
    assert "record.json" in damaged.detail
    assert upload_store.counts() == {"shop": (2, 1)}
    catalog = [Product("shop", number, f"images/{number}.jpg") for number in "123"]
    assert merge(catalog, uploads) == [(catalog[0], "catalog"), (other, "upload")]
    again = upload_store.put(product("1", size=2), picture(3))
    assert upload_store.get("shop", "1") == again
    assert upload_store.uploads("shop").damaged == ()
    assert upload_store.picture_path(again).read_bytes() == picture(3)


def test_a_damaged_file_is_kept_beside_its_replacement(upload_store: UploadStore) -> None:
    def kept() -> list[bytes]:
        return sorted(path.read_bytes() for path in folder_of(upload_store, "1").glob(".damaged-*-record.json"))

    upload_store.put(product("1"), picture(1))
    for number, change in enumerate((upload_store.delete, upload_store.restore)):
        (folder_of(upload_store, "1") / "record.json").write_bytes(b"%d" % number)
        change("shop", "1")
        assert kept() == [b"%d" % one for one in range(number + 1)]
    upload_store.put(product("1"), picture(1))
    assert kept() == [b"0", b"1"]


def test_a_damaged_tombstone_still_deletes_its_product(upload_store: UploadStore) -> None:
    long = "x" * 150
    for product_id in ("1", long):
        upload_store.delete("shop", product_id)
        (folder_of(upload_store, product_id[:9]) / "record.json").write_bytes(b"")
    assert upload_store.is_deleted("shop", "1")
    assert upload_store.is_deleted("shop", long)
    uploads = upload_store.uploads("shop")
    assert uploads.deleted == {"1"}
    assert {one.product_id for one in uploads.damaged} == {"1", None}
    assert merge([Product("shop", "1", "1.jpg"), Product("shop", long, "2.jpg")], uploads) == []
    assert upload_store.restore("shop", "1")
    assert not upload_store.is_deleted("shop", "1")


def test_a_file_or_folder_in_the_wrong_place_is_moved_aside(upload_store: UploadStore) -> None:
    put = upload_store.put(product("1"), picture(1))
    file = upload_store.root / put.picture
    file.unlink()
    file.mkdir()
    (file / "note").write_text("kept")
    assert upload_store.put(product("1"), picture(1)) == put
    assert upload_store.picture_path(put).read_bytes() == picture(1)
    assert [path.read_text() for path in file.parent.glob(".damaged-*/note")] == ["kept"]
    file.parent.rename(upload_store.root / "elsewhere")
    file.parent.write_text("no folder")
    assert upload_store.get("shop", "1") is None
    assert upload_store.put(product("1"), picture(2)) == upload_store.get("shop", "1")
    assert [path.read_text() for path in (upload_store.root / "shop").glob(".damaged-*")] == ["no folder"]


def test_a_damaged_record_is_logged_once_with_its_product(upload_store: UploadStore) -> None:
    upload_store.put(product("1"), picture(1))
    (folder_of(upload_store, "1") / "record.json").write_text("{")
    with capture_logs() as lines:
        for _ in range(3):
            upload_store.uploads("shop")
    [line] = lines
    assert (line["event"], line["product"], line["log_level"]) == ("upload_damaged", "1", "warning")
    assert "record.json" in line["detail"]


def test_the_record_is_plain_json(upload_store: UploadStore) -> None:
    put = upload_store.put(product("ä 1", gender="Men"), picture())
    record = json.loads((upload_store.root / put.picture).with_name("record.json").read_bytes())
    assert record == {
        "schema_version": 1,
        "dataset": "shop",
        "product_id": "ä 1",
        "picture": put.picture.rsplit("/", 1)[1],
        "attributes": {"gender": "Men"},
    }


def test_folders_that_are_not_products_are_ignored(upload_store: UploadStore) -> None:
    put = upload_store.put(product(), picture())
    (upload_store.root / "shop" / "lost+found").mkdir()
    (upload_store.root / "shop" / "link").symlink_to("/etc")
    assert upload_store.products("shop") == (put,)


def test_merging_puts_uploads_over_the_catalogue(upload_store: UploadStore) -> None:
    catalog = [Product("shop", number, f"images/{number}.jpg", {"gender": "Men"}) for number in "123"]
    changed = upload_store.put(product("2", gender="Women"), picture())
    added = upload_store.put(product("9"), picture())
    upload_store.delete("shop", "3")
    upload_store.delete("shop", "88")
    upload_store.put(product("7", "other"), picture())
    assert merge(catalog, upload_store.uploads("shop")) == [
        (catalog[0], "catalog"),
        (changed, "upload"),
        (added, "upload"),
    ]


def test_merging_without_uploads_gives_the_catalogue(upload_store: UploadStore) -> None:
    catalog = [Product("shop", "1", "images/1.jpg")]
    assert merge(iter(catalog), upload_store.uploads("shop")) == [(catalog[0], "catalog")]
    assert merge([], upload_store.uploads("shop")) == []


def test_a_product_that_does_not_fit_on_the_disk_is_refused_and_the_old_one_is_kept(small_disk: Path) -> None:
    upload_store = UploadStore(small_disk / "uploads", reserve_bytes=256 * 1024)
    before = upload_store.put(product(size=1), picture(1))
    filling = fill(small_disk)
    with pytest.raises(StorageFull, match=f"{small_disk}.*VITRINE_UPLOADS_DIR"):
        upload_store.put(product(size=2), picture(2))
    assert upload_store.products("shop") == (before,)
    assert upload_store.picture_path(before).read_bytes() == picture(1)
    without_reserve = UploadStore(small_disk / "uploads")
    with pytest.raises(StorageFull, match="VITRINE_UPLOADS_DIR"):
        without_reserve.delete("shop", "other")
    filling.unlink()
    assert upload_store.put(product(size=2), picture(2)) == upload_store.get("shop", before.id)


def test_a_deletion_is_undone_and_a_put_is_not(upload_store: UploadStore) -> None:
    upload_store.put(product("1"), picture())
    upload_store.delete("shop", "2")
    assert not upload_store.restore("shop", "1")
    assert not upload_store.restore("shop", "3")
    assert upload_store.restore("shop", "2")
    assert not upload_store.restore("shop", "2")
    assert upload_store.tombstones("shop") == frozenset()
    assert upload_store.get("shop", "1") is not None


def test_the_uploads_of_each_dataset_are_counted_and_dropped(upload_store: UploadStore) -> None:
    assert upload_store.counts() == {}
    upload_store.drop("shop")
    upload_store.put(product("1"), picture())
    upload_store.delete("shop", "2")
    upload_store.put(product("1", dataset="other"), picture())
    assert upload_store.counts() == {"shop": (1, 1), "other": (1, 0)}
    upload_store.drop("shop")
    assert upload_store.counts() == {"other": (1, 0)}
    assert not [name for name in files(upload_store) if not name.startswith("other/")]


def test_concurrent_writers_that_create_the_same_folders_both_store_their_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "new" / "uploads"
    shared = {root.parent, root, root / "shop"}
    together, mkdir = threading.Barrier(3), Path.mkdir

    def once_all_have_looked(path: Path, *args: Any, **options: Any) -> None:
        if path in shared:
            together.wait(HUNG_AFTER_S)
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", once_all_have_looked)
    with ThreadPoolExecutor(3) as threads:
        put = list(threads.map(lambda number: UploadStore(root).put(product(number), picture()), "123"))
    assert UploadStore(root).products("shop") == tuple(put)


@pytest.mark.parametrize(
    "change",
    [
        lambda upload_store: upload_store.put(product("1"), picture(2)),
        lambda upload_store: upload_store.delete("shop", "1"),
        lambda upload_store: upload_store.drop("shop"),
    ],
    ids=["put", "delete", "drop"],
)
def test_a_change_that_waits_for_a_drop_of_the_dataset_is_made_in_the_new_folder(
    upload_store: UploadStore, change: Callable[[UploadStore], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_store.put(product("1"), picture(1))
    top = upload_store.root / "shop"
    waits, flock = threading.Event(), fcntl.flock

    def announced(descriptor: int, operation: int) -> None:
        waits.set()
        flock(descriptor, operation)

    with (top / ".lock").open() as held, ThreadPoolExecutor(1) as threads:
        flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr("vitrine.uploads.store.fcntl.flock", announced)
        changing = threads.submit(change, UploadStore(upload_store.root))
        assert waits.wait(HUNG_AFTER_S)
        top.rename(upload_store.root / ".dropped-0")  # like a drop that holds the lock
        flock(held, fcntl.LOCK_UN)
        changing.result(HUNG_AFTER_S)
    assert (top / ".lock").exists() == top.exists()
    assert upload_store.counts() in ({}, {"shop": (1, 0)}, {"shop": (0, 1)})


def test_concurrent_drops_both_succeed(upload_store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        upload_store.put(product(str(number)), picture())
    together, rmtree = threading.Barrier(2), shutil.rmtree

    def once_both_have_listed(path: Path) -> None:
        if (path / ".lock").exists() and len(list(path.iterdir())) > 1:
            together.wait(HUNG_AFTER_S)
        rmtree(path)

    upload_store.root.joinpath("shop").rename(upload_store.root / ".dropped-left-by-a-crash")
    monkeypatch.setattr("vitrine.uploads.store.shutil.rmtree", once_both_have_listed)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: UploadStore(upload_store.root).drop("shop"), range(2)))
    assert files(upload_store) == []


def test_a_put_keeps_further_pictures_and_the_next_one_replaces_all(upload_store: UploadStore) -> None:
    stored = upload_store.put(Product("shop", "1", ""), picture(1), [picture(2), picture(3)])
    assert len(stored.pictures) == 3
    assert upload_store.get("shop", "1") == stored
    folder = upload_store.picture_path(stored).parent
    assert len(files(upload_store)) == 5
    again = upload_store.put(Product("shop", "1", ""), picture(4))
    assert again.more_pictures == ()
    assert len(files(upload_store)) == 3
    assert b"more_pictures" not in (folder / "record.json").read_bytes()
