"""Decoded pictures, kept: each is read and fitted once, and lies from then on in one file of uint8 at the training
size, mapped into memory. An epoch reads from it what it would otherwise decode anew.
"""

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
import numpy.typing as npt

from vitrine.atomic_write import atomic_open
from vitrine.catalogs.roots import read_picture
from vitrine.errors import CatalogRootRefused, ImageRejected, PictureNotFound
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits
from vitrine.images.views import AS_IT_IS, VIEW_RULES_VERSION, View
from vitrine.products import Product
from vitrine.releases import Preprocessing
from vitrine.types import Pixels
from vitrine.vision.preprocess import Preprocessor

# Pictures that are decoded and not yet written, and the bytes they may take.
_CHUNK: Final = 512
_CHUNK_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A product whose picture could not be used."""

    product_id: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class PixelCache:
    """`pixels` (N, H, W, 3) uint8, a row for each product that could be read, at `rows` (N,) of the products given.
    `key` names these pixels, which lie in `folder`: it is another where a picture, its fit or the choice of products
    is.
    """

    key: str
    folder: Path
    pixels: Pixels
    rows: npt.NDArray[np.int64]
    unreadable: tuple[Unreadable, ...]


def cached_pixels(
    products: Sequence[Product],
    root: Path,
    rules: Preprocessing,
    *,
    folder: Path,
    step: Callable[[int], None],
    view: View = AS_IT_IS,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> PixelCache:
    """The pictures of `products` in one view as `rules` fit them, from the file below `folder` where there is one.

    The file belongs to these products, rules, view, limits, and sizes and times of the picture files. `step` is called
    with how many are done, and may raise to stop; what was decoded until then is dropped.
    """
    name = _key(products, root, rules, view, limits)
    data, index = folder / f"{name}.pixels", folder / f"{name}.json"
    shape = (rules.height_px, rules.width_px, 3)
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chunk = max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(shape)))
        preprocessor = Preprocessor(rules, limits=limits)
        _build(products, root, partial(_fitted, preprocessor, view), data, index, step, chunk=chunk)
    kept: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
    rows = np.array(kept["rows"], dtype=np.int64)
    unreadable = tuple(Unreadable(**one) for one in kept["unreadable"])
    if not len(rows):
        return PixelCache(name, folder, np.empty((0, *shape), dtype=np.uint8), rows, unreadable)
    mapped = np.memmap(data, dtype=np.uint8, mode="r", shape=(len(rows), *shape))
    return PixelCache(name, folder, mapped, rows, unreadable)


def _build(
    products: Sequence[Product],
    root: Path,
    fitted: Callable[[bytes], Pixels],
    data: Path,
    index: Path,
    step: Callable[[int], None],
    *,
    chunk: int,
) -> None:
    def read(product: Product) -> Pixels | Unreadable:
        try:
            return fitted(read_picture(root, product.picture))
        except ImageRejected as rejected:
            return Unreadable(product.id, rejected.code, rejected.detail)
        except (PictureNotFound, CatalogRootRefused) as missing:
            return Unreadable(product.id, "missing_picture", missing.detail)

    rows: list[int] = []
    unreadable: list[Unreadable] = []
    with atomic_open(data) as file, ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        done = 0
        for some in _chunks(products, chunk):
            for offset, pixels in enumerate(pool.map(read, some)):
                if isinstance(pixels, Unreadable):
                    unreadable.append(pixels)
                else:
                    file.write(pixels.tobytes())
                    rows.append(done + offset)
            done += len(some)
            step(done)
    with atomic_open(index) as file:  # with it the pixels count
        file.write(json.dumps({"rows": rows, "unreadable": [asdict(one) for one in unreadable]}).encode())


def _fitted(preprocessor: Preprocessor, view: View, data: bytes) -> Pixels:
    return preprocessor.in_views(data, (view,))[0]


def _chunks(products: Sequence[Product], size: int) -> Iterator[list[Product]]:
    remaining = iter(products)
    return iter(lambda: list(islice(remaining, size)), [])


def _key(products: Sequence[Product], root: Path, rules: Preprocessing, view: View, limits: ImageLimits) -> str:
    digest = hashlib.sha256(f"{root}\n{rules.model_dump_json()}\n".encode())
    if view != AS_IT_IS:
        digest.update(f"{view} {VIEW_RULES_VERSION}\n".encode())
    if limits != DEFAULT_LIMITS:
        digest.update(f"{limits}\n".encode())
    for product in products:
        digest.update(f"{product.id}\t{product.picture}\t{_stamp(root / product.picture)}\n".encode())
    return digest.hexdigest()[:24]


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "-"
    return f"{found.st_size} {found.st_mtime_ns}"


def trim_cache(folder: Path, *, keep_bytes: int) -> None:
    """Remove the caches used longest ago until the rest fits. The newest always stays."""
    caches = [*folder.glob("*.pixels"), *folder.glob("*.masks")]
    found = sorted(caches, key=lambda path: path.stat().st_atime, reverse=True)
    total = 0
    for number, data in enumerate(found):
        total += data.stat().st_size
        if number and total > keep_bytes:
            data.with_suffix(".json").unlink(missing_ok=True)
            data.unlink(missing_ok=True)
