"""Attributes as shops have them: lists, half sizes, prices, booleans, dates, category paths and missing values. Each
kind filters, counts, groups and sorts as a shopper expects.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.releases import picture
from harness.shop import Shop
from search_api.pages.search_view import NO_VALUE
from vitrine.qdrant.naming import parse_collection_name

HEADER = ["id", "gender", "farben", "size", "price", "in_stock", "added", "category", "größe", "cutout", "story"]
ROWS = [
    ["0", "Women", "Red|Blue", "36", "19,90 €", "TRUE", "2024-01-15", "Clothing > Dresses > Midi", "M", "Yes", ""],
    ["1", "Women", "Red", "37.5", "25,00 €", "FALSE", "2024-02-15", "Clothing > Dresses", "L", "No", ""],
    ["2", "Men", "Green|Blue", "38", "1.299,00 €", "TRUE", "2024-03-15", "Clothing > Shirts", "M", "Yes", ""],
    ["3", "Men", "", "39", "19,90 €", "", "2024-04-15", "Shoes", "XL", "No", ""],
    ["4", "Women", "White", "36", "", "TRUE", "", "Shoes > Boots", "", "Yes", ""],
    ["5", "Women", "Red|White", "37.5", "42,50 €", "FALSE", "2025-02-15", "", "S", "No", ""],
]  # fmt: skip
_WORDS = "A piece to wear on long days, cut with care and sewn by hand in a small workshop by the sea, number"


def write(root: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    with (root / "products.csv").open("w", newline="") as file:
        written = [[*row[:-1], row[-1] or f"{_WORDS} {row[0]}."] if len(row) == len(HEADER) else row for row in rows]
        csv.writer(file).writerows([header, *written])
    for row in rows:
        (root / "images" / f"{row[0]}.jpg").write_bytes(picture(int(row[0]) * 37 % 250))
    return root


def index(shop: Shop, dataset: str, root: Path) -> dict[str, Any]:
    job = shop.start_index(dataset=dataset, reader="folder", root=str(root))
    result = shop.system.succeeded(job["id"]).result
    assert result is not None
    return result


@pytest.fixture(scope="module")
def dataset(shop: Shop) -> Iterator[str]:
    name = "attributes"
    index(shop, name, write(shop.system.catalogs / name, ROWS))
    yield name
    for one in shop.system.store.get_collections().collections:
        if (parse_collection_name(one.name) or ("", ""))[0] == name:
            shop.system.store.delete_collection(one.name)


def search(shop: Shop, dataset: str, **options: Any) -> dict[str, Any]:
    form = {"dataset": dataset, "topK": "50", **options}
    answer = shop.api.post("/api/search", files={"image": picture(3)}, data=form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(shop: Shop, dataset: str, **filters: str | list[str]) -> list[str]:
    return sorted(str(one) for one in search(shop, dataset, **filters)["ranking"])


def refusal(shop: Shop, dataset: str, **options: str) -> str:
    answer = shop.api.post("/api/search", files={"image": picture(3)}, data={"dataset": dataset, **options})
    assert answer.status_code == 400, answer.text
    return str(answer.json()["detail"])


def test_the_kinds_of_the_attributes_are_reported(shop: Shop, dataset: str) -> None:
    [detail] = shop.api.get("/api/models", params={"dataset": dataset}).json()["details"]
    kinds = {name: kind for name, kind in detail["fields"].items() if name not in ("origin", "product_id")}
    assert kinds == {
        "gender": "keyword", "farben": "keywords", "size": "decimal", "price": "decimal", "priceCurrency": "keyword",
        "in_stock": "boolean", "added": "date", "category": "path", "größe": "keyword", "cutout_": "boolean",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"farben": "Red"}, "015"),
        ({"farben": ["Green", "White"]}, "245"),
        ({"!farben": "Red"}, "234"),
        ({"farben": ""}, "3"),
        ({"!farben": ""}, "01245"),
        ({"farben": ["", "Green"]}, "23"),
        ({"size": "37.5"}, "15"),
        ({"size": ["36", "39"]}, "034"),
        ({"!size": "37.5"}, "0234"),
        ({"sizeMin": "37", "sizeMax": "38"}, "125"),
        ({"price": "19.9"}, "03"),
        ({"price": "1299"}, "2"),
        ({"priceMin": "20", "priceMax": "100"}, "15"),
        ({"price": ""}, "4"),
        ({"priceCurrency": "EUR"}, "01235"),
        ({"in_stock": "true"}, "024"),
        ({"in_stock": "No"}, "15"),
        ({"in_stock": ["1", "0"]}, "01245"),
        ({"!in_stock": "true"}, "135"),
        ({"in_stock": ""}, "3"),
        ({"added": "2024-01-15"}, "0"),
        ({"added": "2024"}, "0123"),
        ({"addedMin": "2024-02-15", "addedMax": "2024-04-15"}, "123"),
        ({"addedMax": "2024-02-14"}, "0"),
        ({"added": ""}, "4"),
        ({"category": "Clothing"}, "012"),
        ({"category": "Clothing > Dresses"}, "01"),
        ({"category": "Clothing>Dresses>Midi"}, "0"),
        ({"category": ["Shoes", "Clothing > Shirts"]}, "234"),
        ({"!category": "Clothing"}, "345"),
        ({"category": ""}, "5"),
        ({"größe": "M"}, "02"),
        ({"größe": ""}, "4"),
        ({"cutout_": "yes"}, "024"),
        ({"farben": "Blue", "in_stock": "true", "category": "Clothing", "priceMin": "20"}, "2"),
    ],
)  # fmt: skip
def test_each_kind_is_filtered_as_a_shopper_expects(
    shop: Shop, dataset: str, filters: dict[str, str | list[str]], expected: str
) -> None:
    assert ids(shop, dataset, **filters) == list(expected)
    listed = shop.api.get("/api/products", params={"dataset": dataset, **filters}).json()
    assert sorted(str(one["id"]) for one in listed["products"]) == list(expected)


def test_a_filter_that_an_attribute_cannot_take_is_refused_with_an_example(shop: Shop, dataset: str) -> None:
    assert "'added' is a date and takes one such as 2024-01-15" in refusal(shop, dataset, added="yesterday")
    assert "'in_stock' is a boolean and takes true or false" in refusal(shop, dataset, in_stock="maybe")
    assert "'price' is a number and takes one such as 19.95" in refusal(shop, dataset, price="cheap")
    assert "'story' is free text" in refusal(shop, dataset, story="care")
    assert "'category' is a category path, which has no range" in refusal(shop, dataset, categoryMin="A")


def test_an_answer_shows_the_values_and_hides_the_levels_of_paths(shop: Shop, dataset: str) -> None:
    product = shop.api.get("/api/products/0", params={"dataset": dataset}).json()["product"]
    assert product["farben"] == ["Red", "Blue"]
    assert (product["price"], product["priceCurrency"]) == (19.9, "EUR")
    assert (product["in_stock"], product["added"]) == (True, "2024-01-15")
    assert product["category"] == "Clothing > Dresses > Midi"
    assert product["story"].endswith("number 0.")
    assert "paths_" not in product


FIELDS = ["farben", "in_stock", "size", "added", "category", "price"]


def assert_counts(facets: dict[str, Any], without: dict[str, int]) -> None:
    assert {one["value"]: one["count"] for one in facets["farben"]} == {"Red": 3, "Blue": 2, "White": 2, "Green": 1}
    assert facets["in_stock"] == [{"value": True, "count": 3}, {"value": False, "count": 2}]
    assert {one["value"]: one["count"] for one in facets["category"]} == {
        "Clothing": 3, "Clothing > Dresses": 2, "Clothing > Dresses > Midi": 1, "Clothing > Shirts": 1, "Shoes": 2,
        "Shoes > Boots": 1,
    }  # fmt: skip
    assert [sum(bucket["count"] for bucket in facets[name]) for name in ("size", "added", "price")] == [6, 5, 5]
    assert facets["added"][0] == {"min": "2024-01-01", "max": "2024-01-31", "count": 1}
    assert {name: without.get(name, 0) for name in FIELDS} == {
        "farben": 1, "in_stock": 1, "size": 0, "added": 1, "category": 1, "price": 1,
    }  # fmt: skip


def test_facets_count_lists_booleans_paths_and_buckets(shop: Shop, dataset: str) -> None:
    answer = shop.api.get("/api/facets", params={"dataset": dataset, "field": FIELDS}).json()
    assert_counts(answer["facets"], answer["withoutValue"])
    found = search(shop, dataset, facets=",".join(FIELDS))
    assert_counts(found["facets"], found["withoutValue"])
    assert found["ranges"]["price"] == {"min": 19.9, "max": 1299.0}
    for bucket in answer["facets"]["added"]:
        assert len(ids(shop, dataset, addedMin=bucket["min"], addedMax=bucket["max"])) == bucket["count"]
    for under, expected in {
        "Clothing": {"Clothing > Dresses": 2, "Clothing > Shirts": 1},
        "Clothing>Dresses": {"Clothing > Dresses > Midi": 1},
        "": {"Clothing": 3, "Shoes": 2},
        "Shoes > Boots": {},
        "Hats": {},
    }.items():
        below = shop.api.get(
            "/api/facets", params={"dataset": dataset, "field": ["category", "farben"], "under": under}
        ).json()["facets"]
        assert {one["value"]: one["count"] for one in below["category"]} == expected, under
        assert below["farben"] == answer["facets"]["farben"]
    refused = shop.api.get("/api/facets", params={"dataset": dataset, "field": "farben", "under": "Clothing"})
    assert refused.status_code == 400
    assert "a field of category paths" in refused.json()["detail"]
    refused = shop.api.get("/api/facets", params={"dataset": dataset, "field": "story"})
    assert refused.status_code == 400
    assert "'story' is free text" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("field", "groups"),
    [("size", 4), ("in_stock", 2), ("gender", 2), ("category", 5), ("price", 4), ("farben", None), ("größe", 4)],
)
def test_at_most_one_product_of_each_value(shop: Shop, dataset: str, field: str, groups: int | None) -> None:
    everything = [one for one in search(shop, dataset)["results"] if one.get(field) is not None]
    taken: set[Any] = set()
    expected = []
    for one in everything:
        values = one[field] if isinstance(one[field], list) else [one[field]]
        if taken.isdisjoint(values):
            expected.append(one["id"])
            taken.update(values)
    answer = search(shop, dataset, groupBy=field)
    assert answer["ranking"] == expected
    assert groups is None or len(expected) == groups
    assert search(shop, dataset, groupBy=field, topK="1", offset="1")["ranking"] == expected[1:2]


def test_dates_and_free_text_are_no_groups(shop: Shop, dataset: str) -> None:
    assert "groupBy 'added' is a date" in refusal(shop, dataset, groupBy="added")
    assert "groupBy 'story' is free text" in refusal(shop, dataset, groupBy="story")


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("added", "012354"), ("-added", "532104"), ("-price", "251"), ("size", None)],
)
def test_a_listing_is_sorted_by_numbers_and_dates_page_by_page(
    shop: Shop, dataset: str, sort: str, expected: str | None
) -> None:
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = shop.api.get("/api/products", params={"dataset": dataset, "sort": sort, "limit": 2, **cursor}).json()
        found += [str(one["id"]) for one in page["products"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(found) == list("012345")
    if expected is not None:
        assert found[: len(expected)] == list(expected)


def test_the_page_offers_a_filter_of_each_kind(shop: Shop, dataset: str) -> None:
    page = shop.api.get("/catalogue", params={"dataset": dataset}, headers={"Accept": "text/html"}).text
    assert 'name="farben" value="Red"' in page
    assert 'type="date" name="addedMin"' in page
    assert 'type="range" name="priceMin"' in page
    assert f'name="farben" value="{NO_VALUE}"' in page
    assert 'class="check level-2"' in page
    without = shop.api.get(
        "/catalogue", params={"dataset": dataset, "farben": NO_VALUE}, headers={"Accept": "text/html"}
    ).text
    assert "1 product" in without
    product = shop.api.get("/products/0", params={"dataset": dataset}, headers={"Accept": "text/html"}).text
    for words in ("Red, Blue", "19.90 EUR", "15 January 2024", "<bdi>Yes</bdi>", "Clothing &gt; Dresses &gt; Midi"):
        assert words in product


def test_values_that_are_put_have_the_kinds_of_the_dataset(shop: Shop, dataset: str) -> None:
    fields = {
        "farben": ["Red", "Gold"],
        "price": "99.5",
        "in_stock": "no",
        "added": "2024-05-01",
        "category": "Shoes>Clogs",
    }
    answer = shop.api.put(
        "/api/products/9", params={"dataset": dataset}, files={"image": picture(90)}, data={**fields, "size": "40.5"}
    )
    assert answer.status_code == 200, answer.text
    try:
        product = answer.json()["product"]
        assert (product["farben"], product["in_stock"], product["category"]) == (
            ["Red", "Gold"],
            False,
            "Shoes > Clogs",
        )
        assert ids(shop, dataset, farben="Gold") == ["9"]
        assert ids(shop, dataset, category="Shoes", in_stock="false") == ["9"]
        assert ids(shop, dataset, addedMin="2024-05-01", addedMax="2024-05-01", sizeMin="40") == ["9"]
        changed = shop.api.put(
            "/api/products/9",
            params={"dataset": dataset},
            json={"attributes": {"farben": ["Silver"], "in_stock": True}},
        )
        assert changed.status_code == 200, changed.text
        assert ids(shop, dataset, farben="Silver", in_stock="true") == ["9"]
        wrong = shop.api.put("/api/products/9", params={"dataset": dataset}, json={"attributes": {"added": "soon"}})
        assert wrong.status_code == 400
        assert "'added' is a date, such as 2024-01-15" in wrong.json()["detail"]
    finally:
        shop.api.delete("/api/products/9", params={"dataset": dataset})
