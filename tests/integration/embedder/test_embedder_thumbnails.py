"""Thumbnails and checks by a running embedder: the answers, the refusals, and callers that have gone."""

from __future__ import annotations

import asyncio
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.embedder import Embedder
from harness.pictures import encoded, gradient
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import DeadlineExpired, ImageRejected, ParameterInvalid
from vitrine.images.thumbnails import make_thumbnail


def post(embedder: Embedder, path: str, data: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{embedder.url}{path}", content=data, headers=named, timeout=HUNG_AFTER_S)


def damaged() -> bytes:
    """A PNG whose header is whole, and whose pixels are not."""
    data = bytearray(encoded(gradient(200, 200), "PNG"))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def thumbnail(embedder: Embedder, data: bytes, width_px: int, *, deadline_s: float = HUNG_AFTER_S) -> bytes:
    async def ask() -> bytes:
        client = AsyncEmbedderClient(embedder.url)
        try:
            return await client.thumbnail(data, width_px=width_px, caller="page", deadline_s=deadline_s)
        finally:
            await client.aclose()

    return asyncio.run(ask())


def test_a_thumbnail_is_a_webp_of_the_width(embedder: Embedder) -> None:
    data = encoded(gradient(600, 800), "JPEG")
    answer = post(embedder, "/v1/thumbnail?width=256", data, content_type="image/jpeg")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert "decode;dur=" in answer.headers["server-timing"]
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.format, image.size) == ("WEBP", (256, 341))
    assert answer.content == thumbnail(embedder, data, 256) == make_thumbnail(data, 256)


@pytest.mark.parametrize("query", ["width=300", "width=0", "width=wide", ""])
def test_other_widths_are_refused(embedder: Embedder, query: str) -> None:
    answer = post(embedder, f"/v1/thumbnail?{query}", encoded(gradient(60, 80), "PNG"))
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert "width" in answer.json()["detail"]


def test_the_client_is_told_why_there_is_none(embedder: Embedder) -> None:
    with pytest.raises(ParameterInvalid, match="64, 128, 256, 512 or 1024"):
        thumbnail(embedder, encoded(gradient(60, 80), "PNG"), 100)
    with pytest.raises(ImageRejected) as refused:
        thumbnail(embedder, b"%PDF-1.7 no picture", 64)
    assert refused.value.reason == "format_unsupported"
    with pytest.raises(ImageRejected):
        thumbnail(embedder, damaged(), 64)


@pytest.mark.parametrize("path", ["/v1/check", "/v1/thumbnail?width=64"])
def test_a_picture_that_is_damaged_behind_its_header_is_refused(embedder: Embedder, path: str) -> None:
    answer = post(embedder, path, damaged())
    assert (answer.status_code, answer.json()["code"]) == (400, "image_corrupt")


def test_a_thumbnail_whose_deadline_is_too_short_is_given_up(embedder: Embedder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 2200, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "PNG", compress_level=0)
    answer = post(embedder, "/v1/thumbnail?width=1024", data, x_request_deadline_ms="1")
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_expired")
    with pytest.raises(DeadlineExpired):
        thumbnail(embedder, data, 1024, deadline_s=0.001)


def test_a_thumbnail_whose_caller_has_gone_is_dropped(embedder: Embedder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 2200, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "PNG", compress_level=0)
    with httpx.Client(base_url=embedder.url) as client:
        for _ in range(4):
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/thumbnail?width=1024", content=data, timeout=httpx.Timeout(60, read=0.02))
        wait_until(lambda: client.get("/readyz").json()["pictures_in_flight"] == 0, what="nothing is at work any more")
    assert post(embedder, "/v1/thumbnail?width=64", data).status_code == 200


def test_thumbnails_have_their_turn_beside_searches(embedder: Embedder) -> None:
    async def both() -> None:
        client = AsyncEmbedderClient(embedder.url)
        try:
            pictures = [encoded(gradient(300, 400 + number), "JPEG") for number in range(12)]
            thumbnails = [client.thumbnail(data, width_px=64, caller="page") for data in pictures]
            searches = [client.embed(data, release_id=embedder.release, caller="page") for data in pictures]
            made, seen = await asyncio.gather(asyncio.gather(*thumbnails), asyncio.gather(*searches))
            assert len(set(made)) == 12
            assert all(one.vector.shape == (16,) for one in seen)
        finally:
            await client.aclose()

    asyncio.run(both())
