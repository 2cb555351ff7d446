"""Thumbnails of products. The embedder makes them, because this process decodes no pictures; they are cached. While the
embedder is unavailable or full, the answer is the picture itself, if browsers can show it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Final

from search_api.products.pictures import Picture, Pictures, digest_of, entity_tag
from search_api.products.service import Products
from search_api.products.thumbnail_cache import ThumbnailCache
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import EmbedderUnavailable, ImageRejected, PictureNotFound, VitrineError
from vitrine.images.checks import picture_header
from vitrine.images.formats import NOT_SHOWN_BY_BROWSERS
from vitrine.images.thumbnails import THUMBNAIL_MEDIA_TYPE, THUMBNAIL_WIDTHS_PX
from vitrine.telemetry import get_logger

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# A page requests many at once. The limit leaves room at the embedder for searches.
_MADE_AT_ONCE: Final = 4
_PATIENCE_S: Final = 5.0
_CALLER: Final = "thumbnails"


class Thumbnails:
    """Makes and looks up thumbnails by product."""

    def __init__(
        self, products: Products, pictures: Pictures, embedder: AsyncEmbedderClient, cache: ThumbnailCache
    ) -> None:
        self._products = products
        self._pictures = pictures
        self._embedder = embedder
        self._cache = cache
        self._places = asyncio.Semaphore(_MADE_AT_ONCE)
        self._log = get_logger("thumbnails")

    async def get(self, dataset: str, product_id: str, width_px: int, index: int = 0) -> Picture:
        """A picture of the product, at most `width_px` wide. If none can be made now, the original as a stand-in.

        Raises PictureNotFound, ProductNotFound, DatasetNotFound, and Unavailable if browsers cannot show the original.
        """
        stored = await self._products.get(dataset, product_id)
        noted = digest_of(stored.payload, index) or ""
        known = noted if _SHA256.fullmatch(noted) else None
        if known is not None:
            kept = await asyncio.to_thread(self._cache.get, known, width_px)
            if kept is not None:
                return Picture(kept, THUMBNAIL_MEDIA_TYPE, entity_tag(kept), known)
        original = await self._pictures.of(stored, dataset, product_id, index)
        try:
            is_narrow = picture_header(original.data).upright_size[0] <= width_px
            if is_narrow and original.media_type not in NOT_SHOWN_BY_BROWSERS:
                return original
            small = await self._made(original.data, width_px)
        except (VitrineError, TimeoutError) as error:
            code = error.code if isinstance(error, VitrineError) else "timeout"
            level = self._log.warning if isinstance(error, ImageRejected) else self._log.info
            level("thumbnail_stand_in", dataset=dataset, product=product_id, code=code)
            if original.media_type in NOT_SHOWN_BY_BROWSERS:
                raise _not_shown(error) from None
            return original.as_stand_in()
        if known is not None and hashlib.sha256(original.data).hexdigest() == known:
            # A file that changed since it was indexed would be cached under the wrong digest.
            await asyncio.to_thread(self._cache.put, known, width_px, small)
        return Picture(small, THUMBNAIL_MEDIA_TYPE, entity_tag(small), known)

    async def shown(self, data: bytes) -> bytes:
        """A picture that browsers do not show, as one that they do. Raises PictureNotFound, Unavailable."""
        try:
            return await self._made(data, THUMBNAIL_WIDTHS_PX[-1])
        except (VitrineError, TimeoutError) as error:
            raise _not_shown(error) from None

    async def _made(self, data: bytes, width_px: int) -> bytes:
        async with asyncio.timeout(_PATIENCE_S), self._places:
            return await self._embedder.thumbnail(data, width_px=width_px, caller=_CALLER, deadline_s=_PATIENCE_S)


def _not_shown(error: VitrineError | TimeoutError) -> VitrineError:
    """The error of a picture that browsers show only as WebP, which cannot be made."""
    if isinstance(error, ImageRejected):
        return PictureNotFound(f"the picture has a format that browsers do not show, and {error.detail}")
    if isinstance(error, VitrineError):
        return error
    return EmbedderUnavailable("the embedder did not convert the picture in time: try again", retry_after_s=1.0)
