"""Products with several pictures while they are indexed: one bad picture costs only itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from qdrant_client import models

from indexer.pictures import MAX_PICTURES, ReadProduct, read_product, sha256s_of
from indexer.plan import PlannedProduct, _pack, _unpack
from indexer.vectors import Point, Vectors
from indexer.verify import verify
from vitrine.errors import PictureNotFound, VerificationFailed
from vitrine.products import Product
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata
from vitrine.types import Vectors as Rows

PRODUCT = Product("shop", "p1", "a.jpg", {"colour": "red"}, ("b.jpg", "c.jpg"), "group")
SEVERAL = CollectionInfo(
    name="c",
    dim=2,
    points=2,
    schema={},
    metadata=CollectionMetadata("shop", "net", "net-0123456789", "folder", "/shop", "building"),
    several_pictures=True,
)
FILES = {"a.jpg": b"A", "b.jpg": b"B", "c.jpg": b"C"}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(product: Product = PRODUCT, files: Mapping[str, bytes] = FILES) -> ReadProduct:
    def opened(path: str) -> bytes:
        if path == "locked.jpg":
            raise PermissionError(13, "locked")
        if path not in files:
            raise PictureNotFound(f"there is no picture {path!r}")
        return files[path]

    found = read_product(PlannedProduct(product, "catalog"), product.pictures, opened)
    found.attributes = product.attributes
    return found


def embed(found: ReadProduct) -> None:
    for number, one in enumerate(found.missing):
        found.vectors[one.sha256] = np.full(4, number + 1, np.float32)


def test_all_pictures_are_in_the_payload_with_a_vector_each() -> None:
    found = read()
    embed(found)
    point = found.point()
    assert point.id == PRODUCT.point_id
    assert point.vectors.shape == (3, 4)
    assert point.payload == {
        "product_id": "p1",
        "dataset": "shop",
        "picture": "a.jpg",
        "pictures": ["a.jpg", "b.jpg", "c.jpg"],
        "variant_of": "group",
        "colour": "red",
        "origin": "catalog",
        "picture_sha256": sha(b"A"),
        "pictures_sha256": [sha(b"A"), sha(b"B"), sha(b"C")],
    }
    assert sha256s_of(point.payload) == found.sha256s


def test_a_product_with_one_picture_is_stored_as_before() -> None:
    found = read(Product("shop", "p1", "a.jpg"))
    embed(found)
    assert found.payload() == {
        "product_id": "p1",
        "dataset": "shop",
        "picture": "a.jpg",
        "origin": "catalog",
        "picture_sha256": sha(b"A"),
    }
    assert sha256s_of(found.payload()) == [sha(b"A")]


def test_a_face_that_is_missing_gives_way_to_the_next_picture() -> None:
    found = read(files={"b.jpg": b"B", "c.jpg": b"C"})
    embed(found)
    assert found.payload()["picture"] == "b.jpg"
    assert found.payload()["pictures"] == ["b.jpg", "c.jpg"]
    [fault] = found.faults
    assert (fault.product_id, fault.kind) == ("p1", PictureNotFound.code)
    assert "'a.jpg'" in fault.detail


def test_a_picture_that_cannot_be_embedded_costs_only_itself() -> None:
    found = read()
    found.reject(found.pictures[0], "image_truncated", "the file ends early")
    embed(found)
    assert (found.payload()["picture"], found.point().vectors.shape) == ("b.jpg", (2, 4))
    [fault] = found.faults
    assert (fault.kind, fault.detail) == ("image_truncated", "the picture 'a.jpg': the file ends early")


def test_a_product_none_of_whose_pictures_can_be_used_is_rejected_with_all_reasons() -> None:
    found = read(files={"a.jpg": b"A"})
    found.reject(found.pictures[0], "image_truncated", "the file ends early")
    assert not found.pictures
    fault = found.rejection()
    assert fault.product_id == "p1"
    assert fault.detail.startswith("none of its 3 pictures can be used: ")
    assert all(name in fault.detail for name in FILES)


def test_the_rejection_of_a_product_with_one_picture_has_its_plain_reason() -> None:
    found = read(Product("shop", "p1", "locked.jpg"))
    assert found.rejection().kind == "picture_unreadable"
    assert found.rejection().detail == "the picture 'locked.jpg' cannot be read (PermissionError)"


def test_only_pictures_that_changed_need_a_vector() -> None:
    before = read()
    embed(before)
    changed = read(Product("shop", "p1", "c.jpg", {}, ("a.jpg", "b.jpg")), {**FILES, "b.jpg": b"B2"})
    changed.reuse(before.point())
    assert [one.path for one in changed.missing] == ["b.jpg"]
    changed.vectors[sha(b"B2")] = np.full(4, 9, np.float32)
    assert changed.point().vectors[:, 0].tolist() == [3, 1, 9]


def test_the_vector_of_a_collection_of_before_is_the_faces() -> None:
    found = read()
    found.reuse(Point("x", np.full((1, 4), 7, np.float32), {"picture_sha256": sha(b"A")}))
    assert [one.path for one in found.missing] == ["b.jpg", "c.jpg"]


def test_the_same_file_twice_is_embedded_once() -> None:
    found = read(files=dict.fromkeys(FILES, b"A"))
    assert len(found.missing) == 1
    embed(found)
    assert found.point().vectors.shape == (3, 4)


def test_a_product_has_a_bounded_number_of_pictures_and_says_what_is_left_out() -> None:
    names = [f"{number}.jpg" for number in range(MAX_PICTURES + 5)]
    found = read(Product("shop", "p1", names[0], {}, tuple(names[1:])), {name: name.encode() for name in names})
    assert len(found.pictures) == MAX_PICTURES
    [fault] = found.faults
    assert names[MAX_PICTURES] in fault.detail


def test_a_plan_carries_pictures_and_variants() -> None:
    planned = [PlannedProduct(PRODUCT, "catalog"), PlannedProduct(Product("shop", "p2", "x.jpg"), "upload")]
    assert _unpack(_pack(planned), "shop") == planned


class Stored(Vectors):
    """A collection whose second picture of a product is not found by itself."""

    def __init__(self, *, blind: bool) -> None:
        self._blind = blind

    def count(self, collection: str, condition: models.Filter | None = None) -> int:
        return 2

    def vectors(self, collection: str, point_ids: Sequence[str]) -> dict[str, Rows]:
        own = {"one": [[1.0, 0.0], [0.0, 1.0]], "two": [[0.7, 0.7]]}
        return {one: np.asarray(own[one], np.float32) for one in point_ids}

    def neighbours(
        self,
        collection: str,
        vectors: Sequence[list[float]],
        *,
        limit: int,
        exact: bool,
        info: CollectionInfo | None = None,
        with_vectors: bool = False,
    ) -> list[list[models.ScoredPoint]]:
        assert info is SEVERAL or exact
        stored = self.vectors(collection, ["one", "two"])
        answers = []
        for query in vectors:
            seen = {one: rows[:1] if self._blind else rows for one, rows in stored.items()}
            scores = {one: float((rows @ np.asarray(query, np.float32)).max()) for one, rows in seen.items()}
            ranked = sorted(scores, key=lambda one: -scores[one])
            answers.append([models.ScoredPoint(id=one, version=0, score=scores[one]) for one in ranked])
        return answers


def test_a_sampled_product_must_find_itself_by_each_of_its_pictures() -> None:
    expected = ["one", "two"]
    assert verify(Stored(blind=False), "c", expected, sample=9, min_recall=0.9, info=SEVERAL) == 1.0
    with pytest.raises(VerificationFailed, match="does not find itself first: point one"):
        verify(Stored(blind=True), "c", expected, sample=9, min_recall=0.9, info=SEVERAL)
