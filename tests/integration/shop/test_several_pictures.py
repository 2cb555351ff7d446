"""Products with several pictures: each is found by any of them, once, and everything else is of products."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.releases import picture
from harness.shop import Shop
from vitrine.jobs import JobRecord, JobState
from vitrine.qdrant.naming import collection_name, parse_collection_name

COLOURS = {"P0": "red", "P1": "green", "P2": "blue", "P3": "orange"}
PER_PRODUCT = 3


def file_of(product: str, number: int) -> str:
    return f"{product}_{number}.jpg"


def bytes_of(product: str, number: int) -> bytes:
    """Pictures of one product are as unlike as those of two."""
    return picture(10 + 20 * (4 * number + int(product[1:])))


def write(root: Path, *, per_product: int = PER_PRODUCT, one_field: bool = False) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    for product, colour in COLOURS.items():
        names = [file_of(product, number) for number in range(per_product)]
        rows += [[product, "|".join(names), colour]] if one_field else [[product, name, colour] for name in names]
        for number, name in enumerate(names):
            if not (root / "images" / name).exists():
                (root / "images" / name).write_bytes(bytes_of(product, number))
    with (root / "products.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "image", "colour"], *rows])
    return root


def index(shop: Shop, dataset: str, root: Path, **body: Any) -> JobRecord:
    job = shop.start_index(dataset=dataset, reader="folder", root=str(root), **body)
    record = shop.system.finished(job["id"])
    assert record.state is JobState.SUCCEEDED, f"{record.error}\n{shop.system.tails()}"
    return record


def embedded(shop: Shop, record: JobRecord) -> int:
    """The pictures that a job embedded."""
    assert record.result is not None
    count = sum(outcome.pictures for outcome in shop.system.jobs.outcomes(record.id).values())
    seconds, rate = record.result["seconds"], record.result["pictures_per_second"]
    # Both are rounded to a tenth.
    assert (rate - 0.06) * (seconds - 0.06) <= count <= (rate + 0.06) * (seconds + 0.06)
    return count


def search(shop: Shop, dataset: str, data: bytes, **options: str) -> dict[str, Any]:
    answer = shop.api.post("/api/search", files={"image": data}, data={"dataset": dataset, "topK": "50", **options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def check_found_by_each_picture(shop: Shop, dataset: str) -> None:
    for product in COLOURS:
        for number in range(PER_PRODUCT):
            answer = search(shop, dataset, bytes_of(product, number))
            assert sorted(answer["ranking"]) == sorted(COLOURS), "each product once"
            assert answer["total"] == len(COLOURS)
            first = answer["results"][0]
            assert (first["id"], first["matchedPicture"]["index"]) == (product, number)
            assert first["score"] > 0.999
            assert len(first["pictures"]) == PER_PRODUCT
            assert shop.api.get(first["matchedPicture"]["image"]).content == bytes_of(product, number)


@pytest.fixture
def dataset(shop: Shop, request: pytest.FixtureRequest) -> Iterator[str]:
    name = "".join(one if one.isalnum() else "_" for one in request.node.name.removeprefix("test_"))[:60].strip("_")
    yield name
    with contextlib.suppress(Exception):
        for one in shop.system.store.get_collections().collections:
            if (parse_collection_name(one.name) or ("", ""))[0] == name:
                shop.system.store.delete_collection(one.name)


@pytest.mark.parametrize("one_field", [False, True], ids=["a row a picture", "one field"])
def test_a_product_is_found_by_each_of_its_pictures_and_never_twice(shop: Shop, dataset: str, one_field: bool) -> None:
    index(shop, dataset, write(shop.system.catalogs / dataset, one_field=one_field))
    check_found_by_each_picture(shop, dataset)
    query = bytes_of("P1", 2)
    whole = search(shop, dataset, query, facets="colour")
    assert {one["value"]: one["count"] for one in whole["facets"]["colour"]} == dict.fromkeys(COLOURS.values(), 1)
    pages = [search(shop, dataset, query, topK="1", offset=str(offset))["ranking"] for offset in range(5)]
    assert pages == [[one] for one in whole["ranking"]] + [[]]
    assert search(shop, dataset, query, colour="blue")["ranking"] == ["P2"]
    grouped = search(shop, dataset, query, groupBy="colour")["ranking"]
    assert grouped == whole["ranking"]
    for options in ({"expand": "2"}, {"rerank": "4"}, {"flip": "true"}, {"fuse": whole["model"]}):
        assert search(shop, dataset, query, **options)["ranking"][0] == "P1"

    listed = shop.api.get("/api/products", params={"dataset": dataset}).json()
    assert (listed["total"], len(listed["products"])) == (len(COLOURS), len(COLOURS))
    similar = shop.api.get("/api/products/P1/similar", params={"dataset": dataset})
    assert similar.status_code == 200, similar.text
    assert sorted(similar.json()["ranking"]) == ["P0", "P2", "P3"]
    liked = shop.api.post("/api/recommend", json={"dataset": dataset, "positive": ["P1", "P2"], "negative": ["P3"]})
    assert liked.json()["ranking"] == ["P0"]
    explained = shop.api.post(
        "/api/explain", files={"image": query}, data={"dataset": dataset, "id": "P1"}, timeout=120
    )
    assert explained.json()["matchedPicture"]["index"] == 2
    assert explained.json()["score"] > 0.999

    address = f"/api/images/P1?dataset={dataset}"
    assert shop.api.get(f"{address}&picture=1&width=256").content == bytes_of("P1", 1), "it is no wider"
    missing = shop.api.get(f"{address}&picture=3")
    assert (missing.status_code, missing.json()["code"]) == (404, "picture_not_found")
    assert "from 0 to 2" in missing.json()["detail"]
    page = shop.api.get(f"/products/P1?dataset={dataset}", headers={"Accept": "text/html"}).text
    assert f"{address}&amp;picture=2" in page


def test_only_the_pictures_that_changed_are_embedded_again_and_bad_ones_cost_only_themselves(
    shop: Shop, dataset: str
) -> None:
    root = write(shop.system.catalogs / dataset)
    assert embedded(shop, index(shop, dataset, root)) == PER_PRODUCT * len(COLOURS)
    again = index(shop, dataset, root)
    assert embedded(shop, again) == 0
    assert (again.progress.done, again.progress.skipped) == (0, len(COLOURS))
    (root / "images" / file_of("P0", 0)).write_bytes(b"no picture")
    (root / "images" / file_of("P1", 1)).write_bytes(picture(249))
    for number in range(PER_PRODUCT):
        (root / "images" / file_of("P2", number)).write_bytes(b"none of them")
    record = index(shop, dataset, root, allowRemoval=True)
    assert (record.progress.done, record.progress.skipped, record.progress.failed) == (1, 2, 1)
    assert embedded(shop, record) == 1
    assert record.result is not None
    assert record.result["removed_ids"] == ["P2"]
    by_product = {fault.product_id: fault for fault in record.faults}
    assert by_product.keys() == {"P0", "P2"}
    assert file_of("P0", 0) in by_product["P0"].detail
    assert "none of its 3 pictures" in by_product["P2"].detail
    first = search(shop, dataset, bytes_of("P0", 1))["results"][0]
    assert (first["id"], first["matchedPicture"]["index"], len(first["pictures"])) == ("P0", 0, 2)
    assert shop.api.get(first["image"]).content == bytes_of("P0", 1), "the next picture is the face"
    assert search(shop, dataset, picture(249))["results"][0]["matchedPicture"]["index"] == 1


def test_a_collection_of_before_serves_until_its_products_have_several_pictures(shop: Shop, dataset: str) -> None:
    root = shop.system.catalogs / dataset
    index(shop, dataset, write(root, per_product=1))
    assert shop.system.serving(dataset=dataset) == collection_name(dataset, shop.release)
    first = search(shop, dataset, bytes_of("P3", 0))["results"][0]
    assert first["id"] == "P3"
    assert not {"pictures", "matchedPicture"} & first.keys()
    record = index(shop, dataset, write(root))
    assert shop.system.serving(dataset=dataset) == collection_name(dataset, shop.release, 2)
    assert record.result is not None
    assert (record.result["added"], record.result["changed"]) == (0, len(COLOURS))
    check_found_by_each_picture(shop, dataset)


def test_a_put_replaces_all_pictures_and_a_change_of_attributes_keeps_them(shop: Shop, dataset: str) -> None:
    root = write(shop.system.catalogs / dataset)
    index(shop, dataset, root)
    changed = shop.api.put(
        "/api/products/P0", params={"dataset": dataset}, json={"attributes": {"colour": "pink"}}, timeout=120
    )
    assert changed.status_code == 200, changed.text
    assert len(changed.json()["product"]["pictures"]) == PER_PRODUCT
    for number in range(PER_PRODUCT):
        first = search(shop, dataset, bytes_of("P0", number))["results"][0]
        assert (first["id"], first["colour"], first["matchedPicture"]["index"]) == ("P0", "pink", number)
    put = shop.api.put(
        "/api/products/P0", params={"dataset": dataset}, files={"image": picture(249)}, data={"colour": "grey"}
    )
    assert put.status_code == 200, put.text
    assert "pictures" not in put.json()["product"]
    for _ in range(2):
        answer = search(shop, dataset, bytes_of("P0", 1))
        assert answer["total"] == len(COLOURS)
        assert {one["id"]: one["score"] for one in answer["results"]}["P0"] < 0.999
        assert search(shop, dataset, picture(249))["ranking"][0] == "P0"
        index(shop, dataset, root)
    assert shop.api.delete("/api/products/P0", params={"dataset": dataset}).status_code == 200
    assert shop.api.post("/api/products/P0/restore", params={"dataset": dataset}).json()["served"]
    check_found_by_each_picture(shop, dataset)


def test_a_batch_of_products_may_have_more_pictures_than_a_request_to_the_embedder(shop: Shop, dataset: str) -> None:
    """64 products of a batch with five pictures each have 320; a request carries 256."""
    root = shop.system.catalogs / dataset
    (root / "images").mkdir(parents=True)
    rows = []
    for number in range(64):
        names = [f"{number}_{other}.jpg" for other in range(5)]
        for other, name in enumerate(names):
            (root / "images" / name).write_bytes(picture(1_000 + 5 * number + other))
        rows.append([str(number), "|".join(names)])
    with (root / "products.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "image"], *rows])
    record = index(shop, dataset, root)
    assert (record.progress.done, record.progress.failed) == (64, 0)
    assert embedded(shop, record) == 64 * 5
