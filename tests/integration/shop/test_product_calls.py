"""Products, recommendations, facets and pictures through the API, with the real services behind it."""

from __future__ import annotations

from typing import Any

import httpx

from harness.releases import picture
from harness.shop import DATASET, Shop, queries

ORDER = {"dataset": DATASET}
Row = dict[str, str]


def put(shop: Shop, product_id: str, data: bytes, **attributes: str) -> dict[str, Any]:
    answer = shop.api.put(f"/api/products/{product_id}", params=ORDER, files={"image": data}, data=attributes)
    assert answer.status_code == 200, answer.text
    product: dict[str, Any] = answer.json()["product"]
    return product


def delete(shop: Shop, product_id: str) -> httpx.Response:
    return shop.api.delete(f"/api/products/{product_id}", params=ORDER)


def test_similar_products_leave_the_product_itself_out(shop: Shop) -> None:
    query = queries(shop)[1]
    similar = shop.get(f"/api/products/{query}/similar", **ORDER, topK=10)
    by_picture = shop.search(query, topK=11)["ranking"]
    assert similar["ranking"] == [found for found in by_picture if found != int(query)]
    women = shop.get(f"/api/products/{query}/similar", **ORDER, topK=10, gender="Women")
    assert {result["gender"] for result in women["results"]} == {"Women"}


def test_one_liked_product_recommends_what_is_similar_to_it(shop: Shop) -> None:
    query = queries(shop)[0]
    body = {**ORDER, "positive": [int(query)], "topK": 8}
    answer = shop.api.post("/api/recommend", json=body).json()
    assert answer["ranking"] == shop.get(f"/api/products/{query}/similar", **ORDER, topK=8)["ranking"]


def test_a_liked_picture_recommends_as_a_search_with_it_finds(shop: Shop) -> None:
    query = queries(shop)[2]
    answer = shop.api.post(
        "/api/recommend", files={"positiveImage": shop.picture(query)}, data={**ORDER, "topK": "6"}
    ).json()
    assert answer["ranking"] == shop.search(query, topK=6)["ranking"]
    assert answer["tookMs"]["embed"] > 0


def test_a_disliked_product_falls_behind(shop: Shop) -> None:
    liked, *_, disliked = [str(found) for found in shop.search(queries(shop)[0], topK=12)["ranking"]]
    body = {**ORDER, "positive": [liked], "topK": 200}
    plain = shop.api.post("/api/recommend", json=body).json()["ranking"]
    moved = shop.api.post("/api/recommend", json={**body, "negative": [disliked]}).json()["ranking"]
    assert int(disliked) in plain
    assert int(disliked) not in moved  # an example is never in the answer
    files = [("positiveImage", shop.picture(liked)), ("negativeImage", shop.picture(disliked))]
    pictured = shop.api.post("/api/recommend", files=files, data={**ORDER, "topK": "200"}).json()["ranking"]
    assert pictured.index(int(disliked)) > plain.index(int(disliked))


def test_recommendations_can_be_filtered_in_json(shop: Shop) -> None:
    body = {**ORDER, "positive": [queries(shop)[0]], "filters": {"gender": ["Women", "Girls"], "yearMin": 2014}}
    answer = shop.api.post("/api/recommend", json={**body, "topK": 100}).json()
    assert answer["results"]
    assert all(result["gender"] in {"Women", "Girls"} and result["year"] >= 2014 for result in answer["results"])


def test_facets_count_what_the_filters_let_through(shop: Shop) -> None:
    answer = shop.get("/api/facets", **ORDER, field=["articleType", "year"], gender="Women")
    rows = [row for row in shop.rows.values() if row["gender"] == "Women"]
    for field in ("articleType", "year"):
        told = {str(item["value"]): item["count"] for item in answer["facets"][field]}
        assert told == {value: sum(row[field] == value for row in rows) for value in {row[field] for row in rows}}


def test_a_product_tells_its_attributes(shop: Shop) -> None:
    query = queries(shop)[0]
    product = shop.get(f"/api/products/{query}", **ORDER)["product"]
    assert product["id"] == int(query)
    assert product["articleType"] == shop.rows[query]["articleType"]
    assert not {"picture", "picture_sha256", "genderArticleType", "origin"} & set(product)


def test_a_picture_has_its_media_type_and_is_not_sent_twice(shop: Shop) -> None:
    address = f"/api/images/{queries(shop)[0]}"
    first = shop.api.get(address, params=ORDER)
    assert first.headers["content-type"] == "image/jpeg"
    assert first.headers["x-content-type-options"] == "nosniff"
    again = shop.api.get(address, params=ORDER, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_put_product_is_found_when_the_call_returns_and_gone_when_deleted(shop: Shop) -> None:
    data = picture(501, kind="PNG")
    product = put(shop, "new-1", data, gender="Women", articleType="Dresses", year="2031", name="A new dress")
    try:
        assert product == {
            "id": "new-1", "dataset": DATASET, "image": f"/api/images/new-1?dataset={DATASET}", "gender": "Women",
            "articleType": "Dresses", "year": 2031, "name": "A new dress",
        }  # fmt: skip
        found = shop.api.post("/api/search", files={"image": data}, data={**ORDER, "gender": "Women"}).json()
        assert found["ranking"][0] == "new-1"
        shown = shop.api.get(product["image"])
        assert (shown.content, shown.headers["content-type"]) == (data, "image/png")
        answer = shop.api.put("/api/products/new-1", params=ORDER, json={"attributes": {"gender": "Men", "name": None}})
        assert answer.json()["product"]["gender"] == "Men"
        assert "name" not in answer.json()["product"]
        assert "new-1" not in shop.search(queries(shop)[0], gender="Women", topK=200)["ranking"]
    finally:
        assert delete(shop, "new-1").json() == {"success": True, "id": "new-1", "dataset": DATASET}
    assert "new-1" not in shop.api.post("/api/search", files={"image": data}, data=ORDER).json()["ranking"]
    assert shop.api.get("/api/products/new-1", params=ORDER).status_code == 404
    assert delete(shop, "new-1").status_code == 404
