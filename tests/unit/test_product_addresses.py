"""Product ids with any character in addresses, and paths that end with a slash."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from search_api.product_addresses import ProductAddresses, id_of_path
from vitrine.errors import ParameterInvalid
from vitrine.products import check_product_id, public_id

IDS = ["A/12", "0012", "x y", "#5", "50%off", "q?a=1", "a&b", "😀", "Ä-4711", "a//b", "/a", "a/", "a%2Fb", "a\\b",
       "null", "similar", "a/similar", "9007199254740993"]  # fmt: skip


async def _shown(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "id": id_of_path(request.path_params["id"]),
            "call": request.scope["route"].name,
            "query": request.query_params.multi_items(),
        }
    )


def _client() -> TestClient:
    routes = [
        Route("/api/products", lambda _: JSONResponse({"call": "list"}), name="list"),
        Route("/api/products/{id:path}/similar", _shown, name="similar"),
        Route("/api/products/{id:path}", _shown, name="one"),
        Route("/api/images/{id:path}", _shown, name="image"),
    ]
    return TestClient(ProductAddresses(Starlette(routes=routes)))


def _asked(path: str, raw_path: bytes, query: str = "") -> str:
    """The path that the application sees."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    scope: dict[str, Any] = {"type": "http", "path": path, "raw_path": raw_path, "query_string": query.encode()}
    asyncio.run(ProductAddresses(app)(scope, None, None))  # type: ignore[arg-type]
    found: str = seen[0]["path"]
    return found


@pytest.mark.parametrize("product_id", IDS)
def test_every_id_is_reached_by_its_encoded_address(product_id: str) -> None:
    place = quote(product_id, safe="")
    client = _client()
    for path, call in ((place, "one"), (f"{place}/similar", "similar")):
        found = client.get(f"/api/products/{path}?dataset=d").json()
        assert found == {"id": product_id, "call": call, "query": [["dataset", "d"]]}
    assert client.get(f"/api/images/{place}").json()["id"] == product_id


@pytest.mark.parametrize("product_id", IDS)
def test_every_id_is_reached_through_the_query(product_id: str) -> None:
    asked = urlencode({"id": product_id, "dataset": "d"})
    for path, call in (("/api/products", "one"), ("/api/products/similar", "similar"), ("/api/images", "image")):
        found = _client().get(f"{path}?{asked}").json()
        assert found == {"id": product_id, "call": call, "query": [["dataset", "d"]]}


def test_a_proxy_may_decode_the_slash() -> None:
    client = _client()
    assert client.get("/api/products/A/12").json()["id"] == "A/12"
    assert client.get("/api/products/A/12/similar").json() == {"id": "A/12", "call": "similar", "query": []}


def test_a_slash_at_the_end_changes_nothing() -> None:
    assert _asked("/api/search/", b"/api/search/") == "/api/search"
    assert _asked("/", b"/") == "/"
    assert _client().get("/api/products/").json() == {"call": "list"}
    assert _client().get("/api/products/12/").json()["id"] == "12"


def test_other_addresses_keep_their_encoded_slashes_decoded() -> None:
    assert _asked("/api/datasets/a/b", b"/api/datasets/a%2Fb") == "/api/datasets/a/b"


def test_a_list_without_an_id_stays_a_list() -> None:
    assert _client().get("/api/products?id=").json() == {"call": "list"}


@pytest.mark.parametrize("product_id", IDS)
def test_such_ids_are_allowed(product_id: str) -> None:
    assert check_product_id(product_id) == product_id


@pytest.mark.parametrize("product_id", ["", ".", "..", "a\nb", "x" * 201, "\x1f"])
def test_ids_that_no_address_can_carry_are_refused(product_id: str) -> None:
    with pytest.raises(ParameterInvalid, match="not allowed"):
        check_product_id(product_id)


@pytest.mark.parametrize(
    ("product_id", "public"), [("12", 12), ("0012", "0012"), ("9007199254740993", "9007199254740993"), ("12.0", "12.0")]
)
def test_an_id_is_a_number_only_where_nothing_is_lost(product_id: str, public: int | str) -> None:
    assert public_id(product_id) == public
