"""The API behind a reverse proxy that serves it below a path: every address it answers with works through the proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from harness.proxy import running_proxy
from harness.shop import Shop

PREFIX = "/vitrine"


@pytest.fixture(scope="module")
def prefixed(shop: Shop) -> Iterator[str]:
    with shop.system.another_api(VITRINE_PATH_PREFIX=PREFIX) as url:
        yield url


@pytest.fixture(params=[True, False], ids=["it strips the prefix", "it leaves the prefix on"])
def through(request: pytest.FixtureRequest, prefixed: str) -> Iterator[httpx.Client]:
    with (
        running_proxy(prefixed, prefix=PREFIX, strips=request.param) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def test_a_page_and_all_that_it_loads_come_through_the_proxy(through: httpx.Client) -> None:
    page = through.get(f"{PREFIX}/")
    assert page.status_code == 200
    addresses = set(re.findall(r'(?:href|src)="(/[^"]*)"', page.text))
    assert len(addresses) > 8
    assert {address: through.get(address).status_code for address in addresses} == dict.fromkeys(addresses, 200)


def test_a_found_products_picture_comes_through_the_proxy(through: httpx.Client, shop: Shop) -> None:
    product = next(iter(shop.rows))
    found = through.post(
        f"{PREFIX}/api/search", files={"image": shop.picture(product)}, data={"dataset": "drawn", "topK": "3"}
    ).json()
    images = [result["image"] for result in found["results"]]
    assert len(images) == 3
    assert all(through.get(image).headers["content-type"] == "image/jpeg" for image in images)
    assert through.get(f"{PREFIX}/api/products/{product}?dataset=drawn").json()["product"]["image"].startswith(PREFIX)


def test_a_job_is_where_its_answer_says(through: httpx.Client, shop: Shop) -> None:
    body = {"reader": "synthetic", "root": str(shop.root), "dataset": "prefixed", "release_id": shop.release,
            "model": shop.release.rpartition("-")[0], "limit": 2}  # fmt: skip
    started = through.post(f"{PREFIX}/api/jobs/index", json=body)
    assert started.status_code == 202, started.text
    assert through.get(started.headers["location"]).json()["job"]["id"] == started.json()["job"]["id"]
    shop.system.succeeded(started.json()["job"]["id"])
    assert shop.api.delete("/api/datasets/prefixed").is_success


def test_the_document_says_below_which_path_the_calls_are(through: httpx.Client) -> None:
    assert through.get(f"{PREFIX}/openapi.json").json()["servers"] == [{"url": PREFIX}]


def test_without_a_prefix_addresses_have_none(shop: Shop) -> None:
    assert shop.search(next(iter(shop.rows)))["results"][0]["image"].startswith("/api/images/")
