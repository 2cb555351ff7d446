"""HEIC and TIFF pictures, which browsers do not show, while the embedder cannot convert them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.picture_formats import heic
from harness.pictures import encoded, gradient
from search_api.products.pictures import Picture, entity_tag
from search_api.products.thumbnail_cache import ThumbnailCache
from search_api.products.thumbnails import Thumbnails
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import ImageRejected, PictureNotFound, Unavailable
from vitrine.images.checks import picture_header
from vitrine.images.formats import MEDIA_TYPES
from vitrine.images.thumbnails import make_thumbnail

T = TypeVar("T")
NOBODY = "http://127.0.0.1:9"  # the port of the discard service, which nothing listens on


class OneProduct:
    """Stands for the stores of products and of pictures: one product, with this picture."""

    payload: dict[str, Any] = {}  # noqa: RUF012 - never written

    def __init__(self, data: bytes) -> None:
        self._picture = Picture(data, MEDIA_TYPES[picture_header(data).format], entity_tag(data))

    async def get(self, *_: object) -> Any:
        return self

    async def of(self, *_: object) -> Picture:
        return self._picture


def answered(data: bytes, folder: Path, use: Callable[[Thumbnails], Awaitable[T]], *, url: str = NOBODY) -> T:
    async def run() -> T:
        client = AsyncEmbedderClient(url)
        product: Any = OneProduct(data)
        try:
            return await use(Thumbnails(product, product, client, ThumbnailCache(folder, max_bytes=0)))
        finally:
            await client.aclose()

    return asyncio.run(run())


HEIC, TIFF = heic(gradient(120, 160)), encoded(gradient(120, 160), "TIFF")


@pytest.mark.parametrize("data", [HEIC, TIFF], ids=["HEIC", "TIFF"])
def test_they_are_unavailable_rather_than_a_file_that_nobody_can_see(data: bytes, tmp_path: Path) -> None:
    for use in (
        lambda thumbnails: thumbnails.get("shop", "1", 1024),
        lambda thumbnails: thumbnails.get("shop", "1", 64),
        lambda thumbnails: thumbnails.shown(data),
    ):
        with pytest.raises(Unavailable) as refused:
            answered(data, tmp_path, use)
        assert refused.value.status == 503
        assert refused.value.retryable


def test_a_picture_that_browsers_show_stands_in_for_its_thumbnail(tmp_path: Path) -> None:
    data = encoded(gradient(120, 160), "JPEG")
    found = answered(data, tmp_path, lambda thumbnails: thumbnails.get("shop", "1", 64))
    assert found.data == data
    assert found.is_stand_in


def test_a_damaged_one_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encoded(gradient(120, 160), "TIFF", compression="tiff_adobe_deflate")
    damaged = whole[:100] + bytes(300) + whole[400:]

    async def thumbnail(_: AsyncEmbedderClient, data: bytes, *, width_px: int, **__: Any) -> bytes:
        return make_thumbnail(data, width_px)  # as the embedder does

    with pytest.raises(ImageRejected):
        make_thumbnail(damaged, 64)
    monkeypatch.setattr(AsyncEmbedderClient, "thumbnail", thumbnail)
    with pytest.raises(PictureNotFound, match="browsers do not show"):
        answered(damaged, tmp_path, lambda thumbnails: thumbnails.get("shop", "1", 1024))
