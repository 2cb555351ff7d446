"""The pictures of products: the catalogue's, below the root of their collection, and uploaded ones. Nothing outside the
allowed roots is served, whatever a payload says.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_api.products.service import Products, StoredProduct
from search_api.settings import Settings
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.errors import CatalogError, ImageRejected, PictureNotFound
from vitrine.images.checks import inspect_image
from vitrine.images.formats import MEDIA_TYPES
from vitrine.products import PICTURES_FIELD
from vitrine.telemetry import get_logger
from vitrine.uploads.store import UploadStore


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file. `media_type` is by its content; `sha256` is that of the indexed picture, if known.

    A stand-in replaces a thumbnail that cannot be made now.
    """

    data: bytes
    media_type: str
    etag: str
    sha256: str | None = None
    is_stand_in: bool = False

    def as_stand_in(self) -> Picture:
        return replace(self, is_stand_in=True)


class Pictures:
    """Looks up pictures by product."""

    def __init__(self, products: Products, upload_store: UploadStore, settings: Settings) -> None:
        self._products = products
        self._upload_store = upload_store
        self._settings = settings
        self._downloads = Downloads(settings.downloads_dir)
        self._log = get_logger("pictures")

    async def get(self, dataset: str, product_id: str, index: int = 0) -> Picture:
        """A picture of the product, by default the face. Raises PictureNotFound, ProductNotFound, DatasetNotFound."""
        return await self.of(await self._products.get(dataset, product_id), dataset, product_id, index)

    async def of(self, stored: StoredProduct, dataset: str, product_id: str, index: int = 0) -> Picture:
        """A picture of a stored product. Raises PictureNotFound."""
        noted = digest_of(stored.payload, index)
        return await asyncio.to_thread(lambda: _described(self._read(stored, dataset, product_id, index), noted))

    async def read_all(self, stored: StoredProduct, dataset: str, product_id: str) -> list[bytes]:
        """The bytes of all pictures of a stored product, the face first. Raises PictureNotFound."""
        count = len(paths_of(stored.payload))
        return await asyncio.to_thread(
            lambda: [self._read(stored, dataset, product_id, index) for index in range(count)]
        )

    def _read(self, stored: StoredProduct, dataset: str, product_id: str, index: int) -> bytes:
        paths = paths_of(stored.payload)
        if index >= len(paths):
            raise PictureNotFound(
                f"the product {product_id!r} has {len(paths)} pictures, from 0 to {len(paths) - 1}, and none of the "
                f"number {index}"
            )
        try:
            return self._read_checked(stored.payload, paths[index], Path(stored.info.metadata.root))
        except (CatalogError, ImageRejected) as refused:
            # Only the log has the reason: to callers a picture outside the roots does not exist.
            self._log.warning("picture_refusal", dataset=dataset, product=product_id, reason=refused.detail)
            raise PictureNotFound(f"the picture of {product_id!r} cannot be read") from refused

    def _read_checked(self, payload: dict[str, Any], picture: str, root: Path) -> bytes:
        if payload.get("origin") == "upload":
            return read_picture(self._upload_store.root, picture)
        return read_picture(
            resolve_catalog_root(root, allowed_roots(self._settings)), picture, downloads=self._downloads
        )


def paths_of(payload: Mapping[str, Any]) -> list[str]:
    """The paths of a stored product's pictures, the face first."""
    several = payload.get(PICTURES_FIELD)
    return [str(one) for one in several] if isinstance(several, list) and several else [str(payload["picture"])]


def digest_of(payload: Mapping[str, Any], index: int = 0) -> str | None:
    """The SHA-256 of the indexed picture, if known."""
    several = payload.get("pictures_sha256")
    noted = several if isinstance(several, list) else [payload.get("picture_sha256")]
    return str(noted[index] or "") or None if index < len(noted) else None


def entity_tag(data: bytes) -> str:
    """A strong entity tag: equal only for equal bytes."""
    return f'"{hashlib.blake2b(data, digest_size=16).hexdigest()}"'


def _described(data: bytes, sha256: str | None) -> Picture:
    try:
        media_type = MEDIA_TYPES[inspect_image(data)[0]]
    except ImageRejected as rejected:
        raise PictureNotFound("the file is not a picture") from rejected
    return Picture(data, media_type, entity_tag(data), sha256)
