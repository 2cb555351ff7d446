"""The three calls of the system that Vitrine replaces, in its paths, fields and shapes: its clients go on working."""

from __future__ import annotations

import httpx
import pytest

from harness.shop import Shop
from harness.system import MODEL


def search(shop: Shop, *, picture: bytes | None, **fields: str) -> httpx.Response:
    files = {"image": ("query.jpg", picture, "image/jpeg")} if picture is not None else None
    return shop.api.post("/api/search", files=files, data=fields)


def test_models_are_a_list_of_names(shop: Shop) -> None:
    assert shop.get("/api/models", dataset="drawn")["models"] == [MODEL]


def test_a_search_answers_a_ranking_of_whole_numbers_best_first(shop: Shop) -> None:
    query = next(iter(shop.rows))
    answer = shop.api.post(
        "/api/search",
        files={"image": ("query.jpg", shop.picture(query), "image/jpeg")},
        data={"model": MODEL, "topK": "15", "dataset": "drawn"},
    ).json()
    assert answer["success"] is True
    assert answer["ranking"][0] == int(query)
    assert len(answer["ranking"]) == len(set(answer["ranking"])) == 15
    assert {str(found) for found in answer["ranking"]} <= set(shop.rows)


@pytest.mark.parametrize("fault", ["no picture", "no such model", "no number", "no picture at all"])
def test_an_error_answers_400_and_no_success(shop: Shop, fault: str) -> None:
    good = shop.picture(next(iter(shop.rows)))
    answer = {
        "no picture": lambda: search(shop, picture=b"these are words", model=MODEL, topK="5", dataset="drawn"),
        "no such model": lambda: search(shop, picture=good, model="vgg99", topK="5", dataset="drawn"),
        "no number": lambda: search(shop, picture=good, model=MODEL, topK="many", dataset="drawn"),
        "no picture at all": lambda: shop.api.post("/api/search"),
    }[fault]()
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert "ranking" not in answer.json()


def test_an_image_is_the_jpeg_of_its_id(shop: Shop) -> None:
    known = next(iter(shop.rows))
    answer = shop.api.get(f"/api/images/{known}", params={"dataset": "drawn"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == shop.picture(known)
    assert shop.api.get("/api/images/999999999", params={"dataset": "drawn"}).status_code == 404
