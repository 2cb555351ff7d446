"""Cache of decoded images: each image is decoded and resized once and then read from a memory-mapped uint8 file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from vitrine.atomic_write import atomic_open
from vitrine.catalogs.downloads import Downloads, is_link
from vitrine.catalogs.roots import read_picture
from vitrine.errors import CatalogRootRefused, ImageRejected, PictureNotFound
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits
from vitrine.images.views import AS_IT_IS, VIEW_RULES_VERSION, View
from vitrine.products import Product
from vitrine.releases import Preprocessing
from vitrine.types import Pixels, Rows
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.preprocess import Preprocessor

# Most images decoded and not yet written, and most bytes of them.
_CHUNK: Final = 512
_CHUNK_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A product whose image could not be decoded. `kind` is a stable error code."""

    product_id: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class PixelCache:
    """`pixels` (N, H, W, 3): the readable products, at `rows` (N,) of the products given.

    `key` identifies the pixels: it changes with the images, the preprocessing and the choice of products.
    """

    key: str
    folder: Path
    pixels: Pixels
    rows: Rows
    unreadable: tuple[Unreadable, ...]


def cached_pixels(
    products: Sequence[Product],
    root: Path,
    rules: Preprocessing,
    *,
    folder: Path,
    step: Callable[[int], None],
    view: View = AS_IT_IS,
    cut_out: GarmentCutter | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    downloads: Downloads | None = None,
) -> PixelCache:
    """The images of `products` in one view, resized as `rules` say, read from the cache in `folder` if possible.

    Images that are links are those of `downloads`. A view of the garment needs `cut_out`. The cache key covers the
    products, rules, view, parser, limits, and the sizes and modification times of the image files, or the content of
    downloads.
    `step` is called with the products done, and may raise to stop; nothing is kept then.
    """
    name = _key(products, root, rules, view, cut_out, limits, downloads)
    data, index = folder / f"{name}.pixels", folder / f"{name}.json"
    shape = (rules.height_px, rules.width_px, 3)
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chunk = max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(shape)))
        preprocessor = Preprocessor(rules, limits=limits)
        read = partial(_read, root, downloads, partial(_decode, preprocessor, view, cut_out))
        _build(products, read, data, index, step, chunk=chunk)
    entry: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
    rows = np.array(entry["rows"], dtype=np.int64)
    unreadable = tuple(Unreadable(**one) for one in entry["unreadable"])
    if not len(rows):
        return PixelCache(name, folder, np.empty((0, *shape), dtype=np.uint8), rows, unreadable)
    pixels = np.memmap(data, dtype=np.uint8, mode="r", shape=(len(rows), *shape))
    return PixelCache(name, folder, pixels, rows, unreadable)


def _build(
    products: Sequence[Product],
    read: Callable[[Product], Pixels | Unreadable],
    data: Path,
    index: Path,
    step: Callable[[int], None],
    *,
    chunk: int,
) -> None:
    rows: list[int] = []
    unreadable: list[Unreadable] = []
    with atomic_open(data) as file, ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        done = 0
        for part in _chunks(products, chunk):
            for offset, pixels in enumerate(pool.map(read, part)):
                if isinstance(pixels, Unreadable):
                    unreadable.append(pixels)
                else:
                    file.write(pixels.tobytes())
                    rows.append(done + offset)
            done += len(part)
            step(done)
    with atomic_open(index) as file:  # written last: it marks the cache as complete
        file.write(json.dumps({"rows": rows, "unreadable": [asdict(one) for one in unreadable]}).encode())


def _read(
    root: Path, downloads: Downloads | None, decode: Callable[[bytes], Pixels], product: Product
) -> Pixels | Unreadable:
    try:
        return decode(read_picture(root, product.picture, downloads=downloads))
    except ImageRejected as rejected:
        return Unreadable(product.id, rejected.code, rejected.detail)
    except (PictureNotFound, CatalogRootRefused) as missing:
        return Unreadable(product.id, "missing_picture", missing.detail)


def _decode(preprocessor: Preprocessor, view: View, cut_out: GarmentCutter | None, data: bytes) -> Pixels:
    return preprocessor.in_views(data, (view,), cut_out=cut_out)[0]


def _chunks(products: Sequence[Product], size: int) -> Iterator[list[Product]]:
    remaining = iter(products)
    return iter(lambda: list(islice(remaining, size)), [])


def _key(
    products: Sequence[Product],
    root: Path,
    rules: Preprocessing,
    view: View,
    cut_out: GarmentCutter | None,
    limits: ImageLimits,
    downloads: Downloads | None,
) -> str:
    digest = hashlib.sha256(f"{root}\n{rules.model_dump_json()}\n".encode())
    if view != AS_IT_IS:
        digest.update(f"{view} {VIEW_RULES_VERSION}\n".encode())
    if view.cutout and cut_out is not None:
        digest.update(f"{cut_out.release_id}\n".encode())
    if limits != DEFAULT_LIMITS:
        digest.update(f"{limits}\n".encode())
    for product in products:
        digest.update(f"{product.id}\t{product.picture}\t{_stamp(root, product.picture, downloads)}\n".encode())
    return digest.hexdigest()[:24]


def _stamp(root: Path, picture: str, downloads: Downloads | None) -> str:
    if downloads is not None and is_link(picture):
        found = downloads.find(picture)
        return "-" if found is None else found.sha256
    try:
        status = (root / picture).stat()
    except OSError:
        return "-"
    return f"{status.st_size} {status.st_mtime_ns}"


def trim_cache(folder: Path, *, keep_bytes: int) -> None:
    """Remove the least recently used caches until the rest fits in `keep_bytes`. The newest is never removed."""
    caches = [*folder.glob("*.pixels"), *folder.glob("*.masks")]
    by_age = sorted(caches, key=lambda path: path.stat().st_atime, reverse=True)
    total = 0
    for number, data in enumerate(by_age):
        total += data.stat().st_size
        if number and total > keep_bytes:
            data.with_suffix(".json").unlink(missing_ok=True)
            data.unlink(missing_ok=True)
