"""The search API with the real services behind it: every call, on a drawn catalogue."""

from __future__ import annotations

import base64
import io
import itertools
import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.releases import picture
from harness.shop import DATASET, PRODUCTS, Shop, queries
from harness.system import MODEL
from harness.waiting import wait_until

ORDER = {"dataset": DATASET}
Row = dict[str, str]


def put(shop: Shop, product_id: str, data: bytes, **attributes: str) -> dict[str, Any]:
    answer = shop.api.put(f"/api/products/{product_id}", params=ORDER, files={"image": data}, data=attributes)
    assert answer.status_code == 200, answer.text
    product: dict[str, Any] = answer.json()["product"]
    return product


def delete(shop: Shop, product_id: str) -> httpx.Response:
    return shop.api.delete(f"/api/products/{product_id}", params=ORDER)


# Search by picture


def test_a_products_own_picture_finds_it_first(shop: Shop) -> None:
    for query in queries(shop):
        answer = shop.search(query, topK=10)
        assert answer["ranking"][0] == int(query)
        assert answer["results"][0]["score"] == pytest.approx(1.0, abs=1e-4)
        scores = [result["score"] for result in answer["results"]]
        assert scores == sorted(scores, reverse=True)
        assert answer["ranking"] == [result["id"] for result in answer["results"]]


def test_a_result_tells_the_products_attributes_and_where_the_time_went(shop: Shop) -> None:
    query = queries(shop)[0]
    answer = shop.search(query, topK=1)
    row = shop.rows[query]
    [found] = answer["results"]
    assert (found["gender"], found["articleType"], found["year"]) == (
        row["gender"], row["articleType"], int(row["year"]),
    )  # fmt: skip
    assert shop.api.get(found["image"]).content == shop.picture(query)
    assert (answer["model"], answer["release"], answer["dataset"]) == (MODEL, shop.release, DATASET)
    took = answer["tookMs"]
    assert took["decode"] > 0
    assert took["embed"] > 0
    assert took["search"] > 0
    assert took["total"] >= took["decode"] + took["embed"] + took["search"] - 0.01


@pytest.mark.parametrize(
    ("fields", "satisfied"),
    [
        ({"gender": "Women"}, lambda row: row["gender"] == "Women"),
        ({"articleType": "Dresses"}, lambda row: row["articleType"] == "Dresses"),
        (
            {"gender": "Women", "articleType": "Dresses"},
            lambda row: row["gender"] == "Women" and row["articleType"] == "Dresses",
        ),
        ({"yearMin": "2013", "yearMax": "2015"}, lambda row: 2013 <= int(row["year"]) <= 2015),
        ({"year": "2014"}, lambda row: row["year"] == "2014"),
        ({"gender": ["Girls", "Unisex"]}, lambda row: row["gender"] in {"Girls", "Unisex"}),
        (
            {"!gender": "Women", "masterCategory": "Apparel"},
            lambda row: row["gender"] != "Women" and row["masterCategory"] == "Apparel",
        ),
    ],
    ids=["gender", "article type", "both", "year range", "year", "either of two", "none of"],
)  # fmt: skip
def test_a_filter_lets_all_that_satisfy_it_through_and_nothing_else(
    shop: Shop, fields: dict[str, Any], satisfied: Callable[[Row], bool]
) -> None:
    expected = {product_id for product_id, row in shop.rows.items() if satisfied(row)}
    assert 0 < len(expected) < PRODUCTS
    answer = shop.search(queries(shop)[0], fields, topK=200)
    assert {str(found) for found in answer["ranking"]} == expected
    inside = min(expected)
    assert shop.search(inside, fields, topK=5)["ranking"][0] == int(inside)


def test_options_and_filters_may_be_query_parameters(shop: Shop) -> None:
    query = queries(shop)[0]
    answer = shop.api.post(
        "/api/search", params={**ORDER, "topK": 7, "gender": "Women"}, files={"image": shop.picture(query)}
    ).json()
    assert {result["gender"] for result in answer["results"]} == {"Women"}
    assert len(answer["results"]) == 7


def test_a_least_score_leaves_out_what_is_less_alike(shop: Shop) -> None:
    query = queries(shop)[1]
    scores = [result["score"] for result in shop.search(query, topK=200)["results"]]
    bound = (scores[4] + scores[5]) / 2
    assert [result["score"] for result in shop.search(query, topK=200, minScore=bound)["results"]] == scores[:5]


def test_a_group_answers_with_its_best_product_alone(shop: Shop) -> None:
    query = queries(shop)[2]
    best: dict[str, int] = {}
    for result in shop.search(query, topK=200)["results"]:
        best.setdefault(result["articleType"], result["id"])
    grouped = shop.search(query, topK=8, groupBy="articleType")
    assert grouped["ranking"] == list(best.values())[:8]


def test_expansion_searches_with_the_mean_of_the_neighbourhood(shop: Shop) -> None:
    query = queries(shop)[3]
    plain, expanded = (shop.search(query, topK=20, expand=count) for count in (0, 5))
    assert int(query) in expanded["ranking"][:6]
    assert [result["score"] for result in expanded["results"]] != [result["score"] for result in plain["results"]]


def test_an_explanation_shows_where_a_picture_and_a_product_look_alike(shop: Shop) -> None:
    query, other = queries(shop)[:2]
    form = {"dataset": DATASET, "id": other}
    answer = shop.api.post("/api/explain", files={"image": shop.picture(query)}, data=form)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    found = shop.search(query, topK=PRODUCTS)["results"]
    assert told["score"] == pytest.approx(next(one["score"] for one in found if one["id"] == int(other)), abs=1e-3)
    for side in ("query", "product"):
        heat = np.array(told[side]["heat"])
        assert heat.shape == (8, 6)
        assert heat.max() > 0
        assert heat.min() >= 0
    with Image.open(io.BytesIO(base64.b64decode(told["picture"].partition(",")[2]))) as picture:
        assert picture.format == "PNG"
        assert picture.height == 480


def test_an_explanation_that_cannot_be_given_is_refused(shop: Shop) -> None:
    query = queries(shop)[0]

    def refused(status: int, told: str, data: bytes = b"", **form: Any) -> None:
        files = {"image": data or shop.picture(query)}
        answer = shop.api.post("/api/explain", files=files, data={"dataset": DATASET, **form})
        assert answer.status_code == status, answer.text
        assert told in answer.json()["detail"]

    refused(404, "no product", id="no-such-product")
    refused(400, "give one 'id'")
    refused(400, "give one 'id'", id=[query, query])
    refused(400, "no filters", id=query, gender="Women")
    refused(400, "JPEG", data=b"no picture at all", id=query)


def test_as_many_products_as_wanted_are_found(shop: Shop) -> None:
    for top_k in (1, 15, 200):
        assert len(shop.search(queries(shop)[0], topK=top_k)["ranking"]) == min(top_k, PRODUCTS)
    assert len(shop.search(queries(shop)[0])["ranking"]) == 15


# Products, recommendations, facets, pictures


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


# Single products


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


# Models, releases, jobs


def test_models_and_releases_say_what_serves(shop: Shop) -> None:
    [detail] = shop.get("/api/models", **ORDER)["details"]
    assert (detail["release"], detail["products"], detail["dim"]) == (shop.release, PRODUCTS, 16)
    assert detail["fields"]["year"] == "integer"
    stored = {release["id"]: release for release in shop.get("/api/releases")["releases"]}
    [collection] = [one for one in stored[shop.release]["collections"] if one["dataset"] == DATASET]
    assert (collection["serving"], collection["state"], collection["products"]) == (True, "ready", PRODUCTS)


def test_another_release_serves_once_indexed_and_activation_goes_back(shop: Shop) -> None:
    name = "switching"
    second = shop.system.release(weights="seed:21")
    for release in (shop.release, second):
        shop.system.succeeded(shop.start_index(dataset=name, release_id=release, limit=20)["id"])
    assert shop.get("/api/models", dataset=name)["details"][0]["release"] == second
    activated = shop.api.post(f"/api/releases/{shop.release}/activate", params={"dataset": name}).json()
    assert (activated["release"], activated["previous"]) == (shop.release, second)
    query = next(iter(shop.rows))
    for release in (shop.release, second):
        shop.api.post(f"/api/releases/{release}/activate", params={"dataset": name}).raise_for_status()
        answer = shop.search(query, dataset=name, topK=3)
        assert (answer["release"], answer["ranking"][0]) == (release, int(query))


def test_a_release_that_is_not_indexed_cannot_be_activated(shop: Shop) -> None:
    unused = shop.system.release(weights="seed:22")
    refused = shop.api.post(f"/api/releases/{unused}/activate", params=ORDER)
    assert (refused.status_code, refused.json()["code"]) == (409, "collection_incomplete")
    unknown = shop.api.post(f"/api/releases/{MODEL}-0123456789/activate", params=ORDER)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "release_not_found")


def test_a_job_is_followed_to_its_end_by_events(shop: Shop) -> None:
    job = shop.start_index(dataset="followed", limit=30, release_id=shop.release)
    with shop.api.stream("GET", f"/api/jobs/{job['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    events = [json.loads(text) for text in data]
    assert events[-1]["state"] == "succeeded"
    assert events[-1]["progress"]["done"] == 30
    assert all(before["version"] < after["version"] for before, after in itertools.pairwise(events))
    assert shop.get(f"/api/jobs/{job['id']}")["job"]["result"]["indexed"] == 30
    assert job["id"] in [one["id"] for one in shop.get("/api/jobs", kind="index", state="succeeded")["jobs"]]
    assert len(shop.get("/api/jobs", limit=1)["jobs"]) == 1


def test_the_same_idempotency_key_gives_the_same_job(shop: Shop) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    jobs = [shop.start_index(dataset="once", limit=5, headers=key)["id"] for _ in range(2)]
    assert jobs[0] == jobs[1]
    other = shop.start_index(dataset="once", limit=5, headers={"Idempotency-Key": uuid.uuid4().hex})
    assert other["id"] != jobs[0]
    for job_id in {*jobs, other["id"]}:
        shop.system.succeeded(job_id)


def test_a_cancelled_job_ends_and_serves_nothing(shop: Shop) -> None:
    job = shop.start_index(dataset="cancelled")
    answer = shop.api.delete(f"/api/jobs/{job['id']}")
    assert answer.status_code == 200
    wait_until(
        lambda: shop.get(f"/api/jobs/{job['id']}")["job"]["state"] == "cancelled",
        deadline_s=30, what="the job's cancellation",
    )  # fmt: skip
    assert shop.api.delete(f"/api/jobs/{job['id']}").status_code == 409
    assert shop.get("/api/models", dataset="cancelled")["models"] == []


# What every call has


def test_the_root_leads_to_the_documentation(shop: Shop) -> None:
    answer = shop.api.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    page = shop.api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/api/search" in page.text


def test_a_request_id_is_given_back_and_made_where_there_is_none(shop: Shop) -> None:
    assert (
        shop.api.get("/api/models", headers={"X-Request-ID": "order-12345678"}).headers["x-request-id"]
        == "order-12345678"
    )
    made = [shop.api.get("/api/models").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert shop.api.get("/api/products/none", params=ORDER).headers["x-request-id"]


def test_the_status_names_every_part(shop: Shop) -> None:
    answer = shop.get("/api/status")
    up = {name: facts["up"] for name, facts in answer["services"].items()}
    assert up == {
        "search-api": True, "embedder": True, "qdrant": True, "redis": True, "indexer": True, "trainer": False,
    }  # fmt: skip
    [drawn] = [one for one in answer["datasets"] if one["dataset"] == DATASET]
    assert drawn["models"] == [{"model": MODEL, "release": shop.release, "products": PRODUCTS}]


def test_a_call_without_a_dataset_is_told_the_choices_where_there_are_several(shop: Shop) -> None:
    shop.system.succeeded(shop.start_index(dataset="another", limit=5, release_id=shop.release)["id"])
    answer = shop.api.post("/api/search", files={"image": shop.picture(next(iter(shop.rows)))})
    assert answer.status_code == 400
    assert "another" in answer.json()["detail"]
    assert DATASET in answer.json()["detail"]
