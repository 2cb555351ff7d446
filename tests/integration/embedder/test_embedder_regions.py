"""A region of a picture through a running embedder: the same vector as the rectangle sent as a picture of its own."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.embedder import Embedder
from harness.pictures import encoded
from harness.waiting import HUNG_AFTER_S
from vitrine.embedding import AsyncEmbedderClient, EmbedderClient, Embedding
from vitrine.errors import ImageRejected
from vitrine.images.decode import decode_image
from vitrine.images.regions import Region

# Not on the borders of blocks, and off the middle.
REGION = Region(0.13, 0.41, 0.29, 0.33)


def blotches(width: int, height: int, *, each_px: int = 20) -> Image.Image:
    """Many soft blotches of colour, so that no part of the picture looks like another."""
    shape = (max(2, height // each_px), max(2, width // each_px), 3)
    noise = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(blotches(500, 400), "JPEG", exif=exif.tobytes())


def transparent() -> bytes:
    image = blotches(300, 400)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    "data",
    [
        encoded(blotches(300, 400), "PNG"),
        encoded(blotches(300, 400), "JPEG"),
        encoded(blotches(300, 400), "WEBP"),
        rotated(),
        transparent(),
    ],
    ids=["png", "jpeg", "webp", "turned", "transparent"],
)
def test_a_region_has_the_vector_of_the_rectangle_sent_alone(
    embedder: Embedder, client: EmbedderClient, data: bytes
) -> None:
    whole = decode_image(data)
    own = client.embed(encoded(whole.crop(REGION.box(*whole.size)), "PNG"), release_id=embedder.release)
    found = client.embed(data, release_id=embedder.release, region=REGION)
    np.testing.assert_allclose(found.vector, own.vector, atol=1e-4)
    elsewhere = client.embed(data, release_id=embedder.release)
    assert float(found.vector @ elsewhere.vector) < 0.999, "the region is not the picture"


def test_a_region_of_a_jpeg_that_is_decoded_smaller_is_as_sharp_as_the_rectangle(
    embedder: Embedder, client: EmbedderClient
) -> None:
    data = encoded(blotches(3000, 4000, each_px=10), "JPEG", quality=95)
    whole = decode_image(data)
    region = Region(0.13, 0.41, 0.04, 0.03)
    own = client.embed(encoded(whole.crop(region.box(*whole.size)), "PNG"), release_id=embedder.release)
    found = client.embed(data, release_id=embedder.release, region=region)
    assert float(found.vector @ own.vector) > 0.999


def test_views_are_of_the_region_for_one_release_and_for_two(embedder: Embedder) -> None:
    data = encoded(blotches(600, 800), "PNG")
    own = encoded(blotches(600, 800).crop(REGION.box(600, 800)), "PNG")
    views = "flip,crops:2"

    async def ask(picture: bytes, region: Region | None) -> tuple[Embedding, ...]:
        client = AsyncEmbedderClient(embedder.url)
        try:
            alone = await client.embed(picture, release_id=embedder.release, views=views, region=region)
            both = await client.embed_for_both(
                picture,
                release_ids=(embedder.release, embedder.release),
                views=views,
                caller="",
                deadline_s=HUNG_AFTER_S,
                region=region,
            )
            return alone, *both
        finally:
            await client.aclose()

    of_region, of_own = asyncio.run(ask(data, REGION)), asyncio.run(ask(own, None))
    for found, expected in zip(of_region, of_own, strict=True):
        assert found.views.shape == (6, 16)
        np.testing.assert_allclose(found.views, expected.views, atol=1e-4)
        np.testing.assert_allclose(found.vector, expected.vector, atol=1e-4)


@pytest.mark.parametrize(
    ("region", "fault"),
    [("0,0,1", "four numbers"), ("0,0,0.005,1", "width is 0.005"), ("0.7,0,0.5,1", "beyond the picture")],
)
def test_a_region_that_cannot_be_is_refused_by_what_is_wrong(embedder: Embedder, region: str, fault: str) -> None:
    answer = httpx.post(
        f"{embedder.url}/v1/embed",
        params={"release": embedder.release, "region": region},
        content=encoded(blotches(30, 40), "PNG"),
        timeout=HUNG_AFTER_S,
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert fault in answer.json()["detail"]


def test_a_region_of_too_few_pixels_is_refused_as_a_picture(embedder: Embedder, client: EmbedderClient) -> None:
    with pytest.raises(ImageRejected, match="the region has"):
        client.embed(encoded(blotches(30, 40), "PNG"), release_id=embedder.release, region=Region(0, 0, 0.1, 0.1))
