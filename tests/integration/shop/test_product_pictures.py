"""Pictures of products through the API: their small ones, entity tags, how long they may be kept, and stand-ins."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from harness.pictures import encoded, gradient
from harness.shop import DATASET, Shop
from harness.waiting import wait_until

ORDER = {"dataset": DATASET}
WIDE = "wide-1"


def drawn(width: int, height: int, shade: int = 90) -> bytes:
    image = Image.new("RGB", (width, height), (shade, 120, 200))
    image.paste((200, shade, 60), (width // 4, height // 4, width // 2, height // 2))
    return encoded(image, "JPEG", quality=90)


def put(shop: Shop, product_id: str, data: bytes) -> None:
    answer = shop.api.put(f"/api/products/{product_id}", params=ORDER, files={"image": data}, data={"gender": "Men"})
    assert answer.status_code == 200, answer.text


def image(
    shop: Shop, product_id: str = WIDE, *, width: object = None, v: str | None = None, etag: str | None = None
) -> httpx.Response:
    headers = {} if etag is None else {"If-None-Match": etag}
    asked = {name: str(value) for name, value in (("width", width), ("v", v)) if value is not None}
    return shop.api.get(f"/api/images/{product_id}", params={**ORDER, **asked}, headers=headers)


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.fixture(scope="module")
def wide(shop: Shop) -> Iterator[bytes]:
    data = drawn(900, 1200)
    put(shop, WIDE, data)
    yield data
    shop.api.delete(f"/api/products/{WIDE}", params=ORDER)


def test_a_picture_comes_no_wider_than_asked_for_and_is_made_once(shop: Shop, wide: bytes) -> None:
    for width in (64, 128, 256, 512):
        small = image(shop, width=width)
        assert small.headers["content-type"] == "image/webp"
        assert size(small.content) == (width, round(width * 4 / 3))
        assert len(small.content) < len(wide)
    assert image(shop, width=1024).content == wide
    first = image(shop, width=256)
    with shop.system.without("embedder"):
        again = image(shop, width=256)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])


def test_a_picture_that_is_not_wider_is_the_file_as_it_is(shop: Shop) -> None:
    product_id = next(iter(shop.rows))
    width, _ = size(shop.picture(product_id))
    fitting = min(one for one in (64, 128, 256, 512, 1024) if one >= width)
    answer = image(shop, product_id, width=fitting)
    assert (answer.content, answer.headers["content-type"]) == (shop.picture(product_id), "image/jpeg")


def test_a_small_picture_is_not_sent_twice_and_head_sends_none(shop: Shop, wide: bytes) -> None:
    first = image(shop, width=128)
    assert not first.headers["etag"].startswith("W/")
    again = image(shop, width=128, etag=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert image(shop, width=256, etag=first.headers["etag"]).status_code == 200
    for width in (128, None):
        got = image(shop, width=width)
        head = shop.api.head(str(got.url))
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["etag"] == got.headers["etag"]
        assert head.headers["content-length"] == str(len(got.content))


def test_only_an_address_that_names_the_picture_may_be_kept_for_good(shop: Shop, wide: bytes) -> None:
    digest = hashlib.sha256(wide).hexdigest()
    assert "max-age=60" in image(shop, width=64).headers["cache-control"]
    assert "immutable" in image(shop, width=64, v=digest[:12]).headers["cache-control"]
    for other in (digest[:5], "0" * 12, ""):
        assert "immutable" not in image(shop, width=64, v=other).headers["cache-control"]
    put(shop, WIDE, drawn(900, 1200, shade=200))
    try:
        replaced = image(shop, width=64, v=digest[:12])
        assert "immutable" not in replaced.headers["cache-control"]
        assert replaced.content != image(shop, width=128).content
    finally:
        put(shop, WIDE, wide)


def test_a_picture_that_lies_on_its_side_is_measured_as_it_stands(shop: Shop) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # stored 400 wide, upright 200
    put(shop, "turned", encoded(gradient(400, 200), "JPEG", exif=turned))
    try:
        assert image(shop, "turned", width=256).headers["content-type"] == "image/jpeg"
        assert size(image(shop, "turned", width=128).content) == (128, 256)
    finally:
        shop.api.delete("/api/products/turned", params=ORDER)


def test_without_the_embedder_the_picture_itself_stands_in_and_is_not_kept_long(shop: Shop, wide: bytes) -> None:
    data = drawn(700, 700, shade=31)
    put(shop, "alone", data)
    try:
        with shop.system.without("embedder"):
            answer = image(shop, "alone", width=64)
            assert (answer.status_code, answer.content) == (200, data)
            assert answer.headers["cache-control"] == "private, max-age=10"
        wait_until(lambda: image(shop, "alone", width=64).headers["content-type"] == "image/webp", what="a thumbnail")
    finally:
        shop.api.delete("/api/products/alone", params=ORDER)


def test_a_width_that_there_is_not_names_those_that_there_are(shop: Shop, wide: bytes) -> None:
    for width in ("100", "0", "-64", "wide", "064", ""):
        answer = image(shop, width=width)
        assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid"), width
        assert "64, 128, 256, 512 or 1024" in answer.json()["detail"]
    assert image(shop, "nobody", width=64).status_code == 404
