"""Which products an indexing does not read again."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from indexer.plan import PlannedProduct
from indexer.unchanged import marks_of, unchanged_ids
from vitrine.products import ADDED_AT_FIELD, FILES_FIELD, AttributeKind, Product

KINDS = {"price": AttributeKind.DECIMAL, "fit": AttributeKind.KEYWORD}
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode() * 50)
        age(tmp_path / name, 1)
    return tmp_path.resolve()


def age(path: Path, hours: int, *, more_ns: int = 0) -> None:
    moment = time.time_ns() - hours * HOUR_NS
    moment -= moment % 1_000_000_000
    os.utime(path, ns=(moment + more_ns, moment + more_ns))


def product(**changes: Any) -> Product:
    given = {"dataset": "d", "id": "1", "picture": "a.jpg", "attributes": {"price": 19.9, "fit": "Slim"}}
    return Product(**{**given, **changes})


def stored(root: Path, one: Product) -> dict[str, Any]:
    payload = {**one.payload(), "origin": "catalog", "picture_sha256": "x", ADDED_AT_FIELD: 5}
    return {**payload, FILES_FIELD: marks_of(root, one.pictures)}


def is_unchanged(root: Path, now: Product, payload: dict[str, Any] | None, origin: Any = "catalog") -> bool:
    payloads = {} if payload is None else {now.point_id: payload}
    return bool(unchanged_ids([PlannedProduct(now, origin)], payloads, root=root, kinds=KINDS, several_pictures=True))


def test_the_same_row_and_file_are_not_read_again(root: Path) -> None:
    assert is_unchanged(root, product(), stored(root, product()))
    several = product(more_pictures=("b.jpg",))
    assert is_unchanged(root, several, stored(root, several))


@pytest.mark.parametrize(
    "now",
    [
        product(attributes={"price": 18.9, "fit": "Slim"}),
        product(attributes={"price": 19.9}),
        product(picture="b.jpg"),
        product(more_pictures=("b.jpg",)),
        product(variant_of="v"),
    ],
    ids=["another value", "a value less", "another picture", "one picture more", "a variant now"],
)
def test_a_row_that_changed_is_read(root: Path, now: Product) -> None:
    assert not is_unchanged(root, now, stored(root, product()))


def test_a_file_of_another_size_is_read(root: Path) -> None:
    payload = stored(root, product())
    status = (root / "a.jpg").stat()
    (root / "a.jpg").write_bytes(b"longer" * 99)
    os.utime(root / "a.jpg", ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert not is_unchanged(root, product(), payload)


def test_a_file_of_another_nanosecond_is_read(root: Path) -> None:
    age(root / "a.jpg", 1)
    payload = stored(root, product())
    changed_ns = (root / "a.jpg").stat().st_mtime_ns + 1_000
    os.utime(root / "a.jpg", ns=(changed_ns, changed_ns))
    assert not is_unchanged(root, product(), payload)


def test_a_file_that_is_gone_is_looked_for(root: Path) -> None:
    payload = stored(root, product())
    (root / "a.jpg").unlink()
    assert not is_unchanged(root, product(), payload)


def test_a_file_that_has_only_just_changed_has_no_marks(root: Path) -> None:
    (root / "a.jpg").write_bytes(b"new")
    assert marks_of(root, ["a.jpg"]) is None
    assert marks_of(root, ["b.jpg", "a.jpg"]) is None


def test_a_file_that_leads_out_of_the_catalogue_has_no_marks(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "c.jpg"
    outside.write_bytes(b"c")
    (root / "link.jpg").symlink_to(outside)
    assert marks_of(root, ["link.jpg"]) is None
    assert marks_of(root, ["../c.jpg"]) is None


def test_what_is_not_stored_or_was_stored_before_such_marks_is_read(root: Path) -> None:
    assert not is_unchanged(root, product(), None)
    before = stored(root, product())
    del before[FILES_FIELD]
    assert not is_unchanged(root, product(), before)


def test_what_was_put_through_the_api_is_read(root: Path) -> None:
    assert not is_unchanged(root, product(), {**stored(root, product()), "origin": "upload"}, origin="upload")
    assert not is_unchanged(root, product(), {**stored(root, product()), "origin": "upload"})


def test_a_collection_of_faces_alone_is_compared_with_the_face(root: Path) -> None:
    several = product(more_pictures=("b.jpg",))
    planned, payloads = [PlannedProduct(several, "catalog")], {several.point_id: stored(root, product())}
    assert unchanged_ids(planned, payloads, root=root, kinds=KINDS, several_pictures=False) == {"1"}
    assert unchanged_ids(planned, payloads, root=root, kinds=KINDS, several_pictures=True) == frozenset()
