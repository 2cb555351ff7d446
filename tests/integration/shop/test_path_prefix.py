"""The API behind a reverse proxy that serves it below a path: every address it answers with works through the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from harness.proxy import running_proxy
from harness.shop import Shop

PREFIX = "/vitrine"


@dataclass(frozen=True)
class Way:
    """How the proxy serves the API."""

    prefix: str = PREFIX
    strips: bool = True
    forwards: bool = False


WAYS = {
    "it strips the prefix": Way(),
    "it leaves the prefix on": Way(strips=False),
    "it forwards a prefix": Way("/shop/search", forwards=True),
}


@pytest.fixture(scope="module")
def prefixed(shop: Shop) -> Iterator[str]:
    with shop.system.another_api(VITRINE_PATH_PREFIX=PREFIX, VITRINE_TRUSTED_PROXIES="127.0.0.1") as url:
        yield url


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture
def through(way: Way, prefixed: str) -> Iterator[httpx.Client]:
    with (
        running_proxy(prefixed, prefix=way.prefix, strips=way.strips, forwards=way.forwards) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def test_a_page_and_all_that_it_loads_come_through_the_proxy(through: httpx.Client, way: Way) -> None:
    page = through.get(f"{way.prefix}/")
    assert page.status_code == 200
    addresses = set(re.findall(r'(?:href|src)="(/[^"]*)"', page.text))
    assert len(addresses) > 8
    assert {address: through.get(address).status_code for address in addresses} == dict.fromkeys(addresses, 200)


def test_a_found_products_picture_comes_through_the_proxy(through: httpx.Client, way: Way, shop: Shop) -> None:
    product = next(iter(shop.rows))
    found = through.post(
        f"{way.prefix}/api/search", files={"image": shop.picture(product)}, data={"dataset": "drawn", "topK": "3"}
    ).json()
    images = [result["image"] for result in found["results"]]
    assert len(images) == 3
    assert all(through.get(image).headers["content-type"] == "image/jpeg" for image in images)
    shown = through.get(f"{way.prefix}/api/products/{product}?dataset=drawn").json()["product"]
    assert shown["image"].startswith(f"{way.prefix}/")


def test_a_job_is_where_its_answer_says(through: httpx.Client, way: Way, shop: Shop) -> None:
    body = {"reader": "synthetic", "root": str(shop.root), "dataset": "prefixed", "release_id": shop.release,
            "model": shop.release.rpartition("-")[0], "limit": 2}  # fmt: skip
    started = through.post(f"{way.prefix}/api/jobs/index", json=body)
    assert started.status_code == 202, started.text
    assert through.get(started.headers["location"]).json()["job"]["id"] == started.json()["job"]["id"]
    shop.system.succeeded(started.json()["job"]["id"])
    assert shop.api.delete("/api/datasets/prefixed").is_success


def test_the_document_says_below_which_path_the_calls_are(through: httpx.Client, way: Way) -> None:
    assert through.get(f"{way.prefix}/openapi.json").json()["servers"] == [{"url": way.prefix}]


def test_without_a_prefix_addresses_have_none(shop: Shop) -> None:
    assert shop.search(next(iter(shop.rows)))["results"][0]["image"].startswith("/api/images/")
