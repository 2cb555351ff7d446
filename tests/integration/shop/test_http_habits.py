"""Calls as people write them: what is meant works, and everything else is answered with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from harness.releases import picture
from harness.shop import DATASET, Shop

SITE: Final = "https://shop.example.com"
PREFLIGHT: Final = {
    "Origin": SITE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-api-key",
}
# Case: (call, status, what the answer's text contains).
Call = Callable[[httpx.Client, bytes], httpx.Response]
CALLS: Final[dict[str, tuple[Call, int, str]]] = {
    "the picture as the body": (
        lambda api, jpeg: api.post(
            "/api/search", params={"dataset": DATASET, "topK": 2}, content=jpeg, headers={"Content-Type": "image/jpeg"}
        ),
        200,
        '"ranking":[',
    ),
    "the picture as bytes": (
        lambda api, jpeg: api.post(
            f"/api/search?dataset={DATASET}", content=jpeg, headers={"Content-Type": "application/octet-stream"}
        ),
        200,
        '"ranking":[',
    ),
    "the picture as a form's type of curl": (
        lambda api, jpeg: api.post(
            "/api/search", content=jpeg, headers={"Content-Type": "application/x-www-form-urlencoded"}
        ),
        415,
        "curl -F image=@FILE",
    ),
    "another name for the file": (
        lambda api, jpeg: api.post("/api/search", files={"file": jpeg}, data={"dataset": DATASET}),
        400,
        "'image'",
    ),
    "a path in place of the file": (
        lambda api, _: api.post("/api/search", files={"image": (None, "shoes/a.jpg"), "dataset": (None, DATASET)}),
        400,
        "an @ goes before",
    ),
    "a link in place of the file": (
        lambda api, _: api.post("/api/search", files={"image": (None, "https://example.com/a.jpg")}),
        400,
        "links are not fetched: download",
    ),
    "no boundary": (
        lambda api, jpeg: api.post("/api/search", content=jpeg, headers={"Content-Type": "multipart/form-data"}),
        400,
        "adds the boundary",
    ),
    "a slash at the end": (
        lambda api, jpeg: api.post(
            "/api/search/",
            files={"image": jpeg},
            data={"dataset": DATASET},
            headers={"X-Forwarded-Prefix": "/vitrine"},
        ),
        200,
        '"ranking":[',
    ),
    "an option in lower case": (
        lambda api, jpeg: api.post("/api/search", files={"image": jpeg}, data={"dataset": DATASET, "topk": "3"}),
        400,
        "did you mean 'topK'?",
    ),
    "a limit in place of topK": (
        lambda api, jpeg: api.post("/api/search", files={"image": jpeg}, data={"dataset": DATASET, "limit": "3"}),
        400,
        "did you mean 'topK'?",
    ),
    "an offset": (
        lambda api, jpeg: api.post("/api/search", files={"image": jpeg}, data={"dataset": DATASET, "offset": "10"}),
        200,
        '"ranking":[',
    ),
    "a preflight that no setting allows": (
        lambda api, _: api.options("/api/search", headers=PREFLIGHT),
        403,
        "VITRINE_ALLOWED_ORIGINS",
    ),
    "attributes without their member": (
        lambda api, _: api.put(f"/api/products/10000?dataset={DATASET}", json={"price": 19.9}),
        422,
        "put the attributes below 'attributes'",
    ),
    "attributes of a product that is not there": (
        lambda api, _: api.put(f"/api/products/A%2F0?dataset={DATASET}", json={"attributes": {"price": 19.9}}),
        404,
        "with its picture",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_call_is_understood_or_answered_with_what_to_do(shop: Shop, case: str) -> None:
    call, status, text = CALLS[case]
    answer = call(shop.api, shop.picture(next(iter(shop.rows))))
    assert (answer.status_code, text in answer.text.replace("\\", "")) == (status, True), answer.text


def test_an_offset_leaves_out_the_first(shop: Shop) -> None:
    product = next(iter(shop.rows))
    whole = shop.search(product, topK=15)["ranking"]
    assert shop.search(product, offset=10, topK=5)["ranking"] == whole[10:]


def test_the_head_of_a_picture_has_its_length(shop: Shop) -> None:
    product = next(iter(shop.rows))
    head = shop.api.head(f"/api/images/{product}", params={"dataset": DATASET})
    assert (head.status_code, head.headers["content-type"], head.content) == (200, "image/jpeg", b"")
    assert int(head.headers["content-length"]) == len(shop.picture(product))


def test_another_site_may_call_where_a_setting_names_it(shop: Shop) -> None:
    with (
        shop.system.another_api(VITRINE_ALLOWED_ORIGINS=SITE) as url,
        httpx.Client(base_url=url, timeout=60) as api,
    ):
        asked = api.options("/api/search", headers=PREFLIGHT)
        assert asked.status_code == 200, asked.text
        assert asked.headers["access-control-allow-origin"] == SITE
        assert "x-api-key" in asked.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in asked.headers
        other = api.options("/api/search", headers={**PREFLIGHT, "Origin": "https://other.example"})
        assert (other.status_code, other.json()["code"]) == (403, "foreign_site")


def test_attributes_that_are_numbers_and_truth_values_are_changed_by_json(shop: Shop, odd: str) -> None:
    place = f"/api/products/{quote('A/12', safe='')}?dataset={odd}"
    for method in ("PUT", "PATCH"):
        changed = shop.api.request(method, place, json={"attributes": {"price": 19.9, "stock": 3}})
        assert changed.status_code == 200, changed.text
        product = changed.json()["product"]
        assert (product["price"], product["stock"]) == (19.9, 3)


IDS: Final = ["A/12", "0012", "x y", "#5", "50%off", "q?a=1", "a&b", "😀", "Ä-4711", "a//b", "12.0", "9007199254740993"]


@pytest.fixture(scope="module")
def odd(shop: Shop) -> Iterator[str]:
    """A dataset whose products have such ids."""
    root = shop.system.catalogs / "odd"
    (root / "images").mkdir(parents=True)
    (root / "images" / "first.jpg").write_bytes(picture(0))
    (root / "products.csv").write_text("id,image,fit\nfirst,images/first.jpg,Slim\n")
    shop.system.succeeded(shop.start_index(dataset="odd", reader="folder", root=str(root))["id"])
    for number, product_id in enumerate(IDS, start=1):
        put = shop.api.put(f"/api/products/{quote(product_id, safe='')}?dataset=odd", files={"image": picture(number)})
        assert put.status_code == 200, put.text
    yield "odd"
    shop.api.delete("/api/datasets/odd", params={"uploads": "true"})


@pytest.mark.parametrize("product_id", IDS)
def test_a_product_is_reached_whatever_its_id(shop: Shop, odd: str, product_id: str) -> None:
    place, named = quote(product_id, safe=""), {"dataset": odd}

    def ok(answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.content

    product = ok(shop.api.get(f"/api/products/{place}", params=named))["product"]
    assert product["id"] == product_id
    own = picture(IDS.index(product_id) + 1)
    assert ok(shop.api.get(product["image"])) == own
    assert ok(shop.api.get("/api/images", params={**named, "id": product_id})) == own
    similar = ok(shop.api.get(f"/api/products/{place}/similar", params=named))
    assert product_id not in similar["ranking"]
    assert len(similar["ranking"]) > 3
    assert (
        ok(shop.api.get("/api/products/similar", params={**named, "id": product_id}))["ranking"] == similar["ranking"]
    )
    page = shop.api.get(f"/products/{place}", params=named)
    assert page.status_code == 200
    assert f"/api/products/{place}?dataset={odd}" in page.text
    assert ok(shop.api.delete(f"/api/products/{place}", params=named))["id"] == product_id
    assert product_id in shop.get(f"/api/datasets/{odd}/deleted")["deleted"]
    assert ok(shop.api.post(f"/api/products/{place}/restore", params=named))["id"] == product_id
    ok(shop.api.put(f"/api/products/{place}", params=named, files={"image": own}))
