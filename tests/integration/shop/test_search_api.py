"""Searches by picture, with the real services behind the API, on a drawn catalogue."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.shop import DATASET, PRODUCTS, Shop, queries
from harness.system import MODEL

ORDER = {"dataset": DATASET}
Row = dict[str, str]


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
