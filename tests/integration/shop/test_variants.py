"""Shops with products in several colours and sizes: searches show one of each product, and how many more there are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.releases import picture
from harness.shop import Shop
from vitrine.jobs import JobRecord, JobState

COLOURS = ("Red", "Blue", "Green")
SIZES = ("S", "M")
GROUPS = ("G0", "G1", "G2", "G3")


def bytes_of(group: str, colour: str) -> bytes:
    """The sizes of a colour share a picture."""
    return picture(10 + 60 * int(group[1:]) + 17 * COLOURS.index(colour))


def write_pictures(root: Path) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        for colour in COLOURS:
            (root / "images" / f"{group}-{colour}.jpg").write_bytes(bytes_of(group, colour))
    (root / "images" / "single.jpg").write_bytes(picture(251))


def write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_table(root: Path, *, variants: bool = True) -> Path:
    write_pictures(root)
    rows = [["id", "image", "colour", "size", "price", *(["variantOf"] if variants else [])]]
    for number, group in enumerate(GROUPS):
        for colour in COLOURS:
            for size in SIZES:
                name = f"images/{group}-{colour}.jpg"
                rows.append([f"{group}-{colour}-{size}", name, colour, size, f"{10 + number}.50"])
                if variants:
                    rows[-1].append(group)
    rows.append(["single", "images/single.jpg", "Red", "M", "99.50", *([""] if variants else [])])
    write_rows(root / "products.csv", rows)
    return root


def write_woocommerce(root: Path) -> Path:
    write_pictures(root)
    head = ["ID", "Type", "SKU", "Name", "Published", "Images", "Parent", "Attribute 1 name", "Attribute 1 value(s)"]
    rows = [head]
    for number, group in enumerate(GROUPS):
        parent = str(100 * (number + 1))
        rows.append([parent, "variable", group, f"Shirt {group}", "1", "", "", "Colour", ", ".join(COLOURS)])
        for place, colour in enumerate(COLOURS, start=1):
            image = f"images/{group}-{colour}.jpg"
            rows.append(
                [
                    str(int(parent) + place),
                    "variation",
                    "",
                    f"Shirt {group}",
                    "1",
                    image,
                    f"id:{parent}",
                    "Colour",
                    colour,
                ]
            )
    rows.append(["900", "simple", "", "Single", "1", "images/single.jpg", "", "Colour", "Red"])
    write_rows(root / "export.csv", rows)
    return root


def index(shop: Shop, dataset: str, root: Path, **body: Any) -> JobRecord:
    job = shop.start_index(dataset=dataset, reader="folder", root=str(root), **body)
    record = shop.system.finished(job["id"])
    assert record.state is JobState.SUCCEEDED, f"{record.error}\n{shop.system.tails()}"
    return record


def search(shop: Shop, dataset: str, data: bytes, **options: str) -> dict[str, Any]:
    answer = shop.api.post("/api/search", files={"image": data}, data={"dataset": dataset, "topK": "50", **options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def groups_of(answer: dict[str, Any]) -> list[str]:
    return [str(one.get("variantOf", one["id"])) for one in answer["results"]]


def test_a_table_with_variants_is_searched_by_product(shop: Shop) -> None:
    dataset = "variety"
    root = write_table(shop.system.catalogs / dataset, variants=False)
    index(shop, dataset, root)
    query = bytes_of("G1", "Blue")
    plain = search(shop, dataset, query)
    assert plain["total"] == len(plain["ranking"]) == 25
    assert not any("variants" in one or "variantOf" in one for one in plain["results"])
    assert shop.get("/api/products/G1-Blue-S/variants", dataset=dataset)["products"] == []

    # The first variants of a catalogue need another collection.
    record = index(shop, dataset, write_table(root))
    assert record.result is not None
    assert record.result["previous"] is not None
    found = search(shop, dataset, query, facets="colour,size,price")
    assert sorted(groups_of(found)) == [*GROUPS, "single"]
    assert found["total"] == 5
    first = found["results"][0]
    assert (first["id"], first["variantOf"], first["variants"]) == ("G1-Blue-M", "G1", 5)
    assert {one["value"]: one["count"] for one in found["facets"]["colour"]} == {"Red": 5, "Blue": 4, "Green": 4}
    assert {one["value"]: one["count"] for one in found["facets"]["size"]} == {"M": 5, "S": 4}
    assert sum(one["count"] for one in found["facets"]["price"]) == 5
    pages = [search(shop, dataset, query, topK="2", offset=str(offset))["ranking"] for offset in (0, 2, 4, 6)]
    assert [one for page in pages for one in page] == found["ranking"]
    filtered = search(shop, dataset, query, size="S", colour="Blue")
    assert (sorted(groups_of(filtered)), filtered["total"]) == ([*GROUPS], 4)
    assert not any("variants" in one for one in filtered["results"])
    assert [one["variants"] for one in search(shop, dataset, query, size="S")["results"]] == [2, 2, 2, 2]
    every = search(shop, dataset, query, variants="all")
    assert every["total"] == len(every["ranking"]) == 25
    for options in ({"expand": "2"}, {"rerank": "4"}, {"flip": "true"}, {"fuse": found["model"]}):
        assert sorted(groups_of(search(shop, dataset, query, **options))) == [*GROUPS, "single"], options
    grouped = groups_of(search(shop, dataset, query, groupBy="colour"))
    assert len(set(grouped)) == len(grouped) == 3

    similar = shop.get("/api/products/G1-Blue-S/similar", dataset=dataset, topK=50)
    assert sorted(groups_of(similar)) == ["G0", "G2", "G3", "single"]
    liked = shop.api.post("/api/recommend", json={"dataset": dataset, "positive": ["G1-Red-S"], "negative": ["single"]})
    assert sorted(groups_of(liked.json())) == ["G0", "G2", "G3"]

    others = shop.get("/api/products/G1-Blue-S/variants", dataset=dataset, colour="Blue")
    assert (others["total"], [one["id"] for one in others["products"]]) == (1, ["G1-Blue-M"])
    assert shop.get("/api/products/G1-Blue-S/variants", dataset=dataset)["total"] == 5
    assert shop.get("/api/products/G1-Blue-S", dataset=dataset)["product"]["variants"] == 5
    listed = shop.get("/api/products", dataset=dataset, limit=50)
    assert listed["total"] == len(listed["products"]) == 25
    assert {one["variants"] for one in listed["products"] if one["id"] != "single"} == {5}

    page = shop.api.get("/products/G1-Blue-S", params={"dataset": dataset}).text
    assert "5 more variants" in page
    assert "Red · M" in page
    assert "+5 variants" in shop.api.get("/catalogue", params={"dataset": dataset}).text
    assert "+5 variants" in shop.api.get("/", params={"dataset": dataset, "id": "G1-Blue-S"}).text
    check_changes(shop, dataset)

    again = index(shop, dataset, root)
    assert again.result is not None
    assert again.result["previous"] is None, "the same collection"
    assert sorted(set(groups_of(search(shop, dataset, query)))) == [*GROUPS, "single"]


def check_changes(shop: Shop, dataset: str) -> None:
    """A put, changes and a deletion of variants."""
    where = {"dataset": dataset}
    put = shop.api.put(
        "/api/products/G1-Black", params=where, files={"image": picture(200)}, data={"variantOf": "G1-Red-S"}
    )
    assert put.status_code == 200, put.text
    assert (put.json()["product"]["variantOf"], put.json()["product"]["variants"]) == ("G1", 6)
    assert "variantOf" not in put.json()["notices"]
    changed = shop.api.put("/api/products/G1-Black", params=where, json={"attributes": {"colour": "Black"}})
    assert changed.json()["product"]["variantOf"] == "G1"
    alone = shop.api.put("/api/products/G1-Black", params=where, json={"variantOf": None})
    assert "variantOf" not in alone.json()["product"]
    assert alone.json()["product"]["colour"] == "Black"
    assert search(shop, dataset, picture(200))["total"] == 6
    joined = shop.api.put("/api/products/G1-Black", params=where, json={"variantOf": "single"})
    assert (joined.json()["product"]["variantOf"], joined.json()["product"]["variants"]) == ("single", 1)
    assert search(shop, dataset, picture(200))["total"] == 5
    refused = shop.api.put("/api/products/G1-Black", params=where, json={"attributes": {"variantOf": "G1"}})
    assert refused.status_code == 400
    assert "beside 'attributes'" in refused.text
    assert shop.api.delete("/api/products/G1-Black", params=where).status_code == 200
    exported = shop.api.get("/api/products", params=where, headers={"Accept": "application/x-ndjson"}).text
    assert exported.count('"variantOf":"G1"') == 6


def test_variations_of_a_shop_are_variants_of_their_parent(shop: Shop) -> None:
    dataset = "woo"
    index(shop, dataset, write_woocommerce(shop.system.catalogs / dataset))
    found = search(shop, dataset, bytes_of("G2", "Green"))
    assert found["total"] == len(found["ranking"]) == 5
    assert found["results"][0]["id"] == 303
    assert sorted(one.get("variants", 0) for one in found["results"]) == [0, 2, 2, 2, 2]
    others = shop.get("/api/products/303/variants", dataset=dataset)
    assert [one["id"] for one in others["products"]] == [301, 302]


@pytest.mark.parametrize("value", ["", "some", "ALL"])
def test_an_unknown_choice_of_variants_is_refused(shop: Shop, value: str) -> None:
    answer = shop.api.post("/api/search", files={"image": picture(1)}, data={"dataset": "drawn", "variants": value})
    assert answer.status_code == 400
    assert "variants" in answer.text
