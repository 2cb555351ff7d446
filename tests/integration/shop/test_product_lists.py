"""Lists of products: every page once, in every order, as lines of JSON too, and what is wrong with a cursor."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from qdrant_client import models

from harness.releases import picture
from harness.shop import DATASET, PRODUCTS, Shop
from harness.waiting import wait_until
from vitrine.products import point_id

ORDER = {"dataset": DATASET}
NDJSON = {"Accept": "application/x-ndjson"}
Product = dict[str, Any]


def pages(shop: Shop, **parameters: Any) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = shop.get("/api/products", **{**ORDER, **parameters}, **({"cursor": cursor} if cursor else {}))
        yield page
        cursor = page["next"]
        if cursor is None:
            return


def listed(shop: Shop, **parameters: Any) -> list[Product]:
    return [product for page in pages(shop, **parameters) for product in page["products"]]


def exported(shop: Shop, **parameters: Any) -> list[Product]:
    answer = shop.api.get("/api/products", params={**ORDER, **parameters}, headers=NDJSON)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def problem(shop: Shop, **parameters: Any) -> dict[str, Any]:
    answer = shop.api.get("/api/products", params={**ORDER, **parameters})
    assert answer.status_code == 400, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("limit", [7, 50, 1000])
@pytest.mark.parametrize("sort", [None, "year", "-year", "newest", "oldest"])
def test_all_pages_together_have_every_product_once(shop: Shop, sort: str | None, limit: int) -> None:
    order = {} if sort is None else {"sort": sort}
    found = list(pages(shop, limit=limit, **order))
    ids = [str(product["id"]) for page in found for product in page["products"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(shop.rows)
    assert {page["total"] for page in found} == {PRODUCTS}
    assert all(len(page["products"]) == limit for page in found[:-1])
    assert found[-1]["products"]
    assert ids == [str(product["id"]) for product in exported(shop, **order)]


def test_products_are_in_the_order_of_the_field_and_those_of_one_value_in_a_stable_one(shop: Shop) -> None:
    down = listed(shop, sort="-year", limit=13)
    assert [one["year"] for one in down] == sorted((int(row["year"]) for row in shop.rows.values()), reverse=True)
    keys = [(-one["year"], point_id(DATASET, str(one["id"]))) for one in down]
    assert keys == sorted(keys)
    up = listed(shop, sort="year", limit=1000)
    assert [(one["year"], one["id"]) for one in up] == sorted(
        ((one["year"], one["id"]) for one in down), key=lambda key: (key[0], point_id(DATASET, str(key[1])))
    )


def test_filters_hold_for_pages_total_and_export(shop: Shop) -> None:
    wanted = {id for id, row in shop.rows.items() if row["gender"] == "Women" and int(row["year"]) >= 2014}
    filters: dict[str, Any] = {"gender": "Women", "yearMin": 2014}
    for order in ({}, {"sort": "-year"}):
        found = list(pages(shop, limit=5, **filters, **order))
        assert {str(product["id"]) for page in found for product in page["products"]} == wanted
        assert {page["total"] for page in found} == {len(wanted)}
        assert {str(product["id"]) for product in exported(shop, **filters, **order)} == wanted
    none = shop.get("/api/products", **ORDER, gender="Nobody")
    assert (none["products"], none["next"], none["total"]) == ([], None, 0)
    assert exported(shop, gender="Nobody") == []


def test_what_was_put_last_is_the_newest_and_what_lacks_the_field_comes_last(shop: Shop) -> None:
    attributes = {"gender": "Women", "name": "Put last"}
    answer = shop.api.put("/api/products/put-last", params=ORDER, files={"image": picture(640)}, data=attributes)
    assert answer.status_code == 200, answer.text
    try:
        assert listed(shop, sort="newest", limit=20)[0]["id"] == "put-last"
        assert listed(shop, sort="oldest", limit=20)[-1]["id"] == "put-last"
        for sort in ("year", "-year"):
            assert listed(shop, sort=sort, limit=50)[-1]["id"] == "put-last"
            assert exported(shop, sort=sort)[-1]["id"] == "put-last"
        assert not {"added_at_ms", "origin"} & set(answer.json()["product"])
    finally:
        shop.api.delete("/api/products/put-last", params=ORDER)


def test_what_is_written_between_two_pages_repeats_and_hides_nothing(shop: Shop) -> None:
    first, *_ = pages(shop, limit=60, sort="-year")
    names = [f"between-{number}" for number in range(3)]
    for number, name in enumerate(names):
        data = {"gender": "Women", "year": str(2010 + 4 * number)}
        assert shop.api.put(
            f"/api/products/{name}", params=ORDER, files={"image": picture(650 + number)}, data=data
        ).is_success
    try:
        rest, cursor = [], first["next"]
        while cursor is not None:
            page = shop.get("/api/products", **ORDER, limit=60, sort="-year", cursor=cursor)
            rest += page["products"]
            cursor = page["next"]
        ids = [str(product["id"]) for product in (*first["products"], *rest)]
        assert len(ids) == len(set(ids))
        assert set(ids) - set(names) == set(shop.rows)
    finally:
        for name in names:
            shop.api.delete(f"/api/products/{name}", params=ORDER)


def test_a_cursor_that_this_listing_did_not_give_is_refused(shop: Shop) -> None:
    given = shop.get("/api/products", **ORDER, limit=5, sort="year")["next"]
    for other in ({"sort": "-year"}, {}, {"sort": "year", "gender": "Women"}):
        found = problem(shop, cursor=given, **other)
        assert found["code"] == "parameter_invalid"
        assert "another" in found["detail"]
    content = json.loads(base64.urlsafe_b64decode(given + "=="))
    for changed in ({"p": "nothing"}, {"v": "many"}, {"i": "x"}, {"v": None}, {"x": 1}):
        text = base64.urlsafe_b64encode(json.dumps({**content, **changed}).encode()).decode()
        assert "next" in problem(shop, cursor=text, sort="year")["detail"]
    for text in ("", "nonsense", "e30", "\u00e9", "A" * 300):
        assert problem(shop, cursor=text, sort="year")["code"] == "parameter_invalid"
    assert "cursor" in problem(shop, cursor="A" * 1000)["detail"]


def test_an_order_that_there_is_not_names_those_that_there_are(shop: Shop) -> None:
    for sort in ("gender", "-name", "price", "added_at_ms", ""):
        detail = problem(shop, sort=sort)["detail"]
        assert "newest" in detail
        assert "year" in detail
    for limit in ("0", "1001", "many"):
        assert "limit" in problem(shop, limit=limit)["detail"]
    assert problem(shop, addedAt="1")["code"] == "filter_invalid"
    assert problem(shop, added_at_ms="1")["code"] == "filter_invalid"


def test_an_export_takes_no_page(shop: Shop) -> None:
    answer = shop.api.get("/api/products", params={**ORDER, "limit": 5}, headers=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    nowhere = shop.api.get("/api/products", params={"dataset": "nowhere"}, headers=NDJSON)
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "dataset_not_found")


def test_an_export_that_its_client_leaves_gives_its_place_back(shop: Shop) -> None:
    with shop.system.another_api(VITRINE_MAX_EXPORTS="1", VITRINE_MAX_EXPORTS_PER_CALLER="1") as url:

        def left_after_a_line() -> bool:
            with httpx.stream("GET", f"{url}/api/products", params=ORDER, headers=NDJSON) as answer:
                return answer.status_code == 200 and bool(next(answer.iter_lines()))

        for _ in range(3):  # each takes the only place
            wait_until(left_after_a_line, what="the place of the export before")


def test_without_the_times_newest_says_what_brings_them(shop: Shop) -> None:
    collection = shop.system.serving()
    assert collection is not None
    shop.system.store.delete_payload_index(collection, "added_at_ms", wait=True)
    try:
        with shop.system.another_api() as url:
            answer = httpx.get(f"{url}/api/products", params={**ORDER, "sort": "newest"})
        assert answer.status_code == 400
        assert "index it again" in answer.json()["detail"]
    finally:
        shop.system.store.create_payload_index(collection, "added_at_ms", models.PayloadSchemaType.INTEGER, wait=True)
