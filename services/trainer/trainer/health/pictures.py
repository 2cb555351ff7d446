"""The pictures of stored products, wherever they are: in the catalogue's folder, uploaded, or downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from trainer.settings import Settings
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.errors import VitrineError
from vitrine.products import PICTURES_FIELD
from vitrine.uploads.store import UploadStore

T = TypeVar("T")
Payload = Mapping[str, Any]
_CHUNK: Final = 256


class StoredPictures:
    """Reads the pictures of a collection whose catalogue is in `root`. Thread-safe."""

    def __init__(self, root: str, settings: Settings) -> None:
        self._root = Path(root)
        self._settings = settings
        self._uploads = UploadStore(settings.uploads_dir, reserve_bytes=0).root
        self._downloads = Downloads(settings.downloads_dir)

    def read(self, payload: Payload, number: int = 0) -> bytes:
        """The bytes of a product's picture, by default the first. Raises CatalogError or ImageRejected."""
        several = payload.get(PICTURES_FIELD)
        path = str(several[number]) if isinstance(several, list) and several else str(payload.get("picture"))
        if payload.get("origin") == "upload":
            return read_picture(self._uploads, path)
        root = resolve_catalog_root(self._root, allowed_roots(self._settings))
        return read_picture(root, path, downloads=self._downloads)

    def each(self, payloads: Sequence[Payload], use: Callable[[bytes], T]) -> Iterator[T | None]:
        """`use` of the first picture of each product, in order; None for a picture that cannot be read."""

        def read(payload: Payload) -> T | None:
            try:
                return use(self.read(payload))
            except VitrineError:
                return None

        rest = iter(payloads)
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pictures") as pool:
            while part := list(islice(rest, _CHUNK)):
                yield from pool.map(read, part)
