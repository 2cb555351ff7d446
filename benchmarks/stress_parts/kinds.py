"""The kinds of expensive requests. Each kind in `kinds()` gets a row in the table."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image

from benchmarks.pictures import form

LARGE: Final = (6400, 5000)  # 32 megapixels, the maximum


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request. `headers` are those other than Host and Content-Length."""

    name: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"


def search(name: str, picture: bytes, /, *, path: str = "/api/search", **fields: str) -> Kind:
    """A request with a picture and form fields."""
    content_type, body = form(picture, fields.items())
    return Kind(name, path, body, (("Content-Type", content_type),))


def kinds(*, dataset: str, model: str, product_id: str, ordinary: bytes) -> Iterator[Kind]:
    """All kinds, in the order of the memory they need. `ordinary` is a picture of the catalogue."""
    target = {"dataset": dataset, "model": model}
    jpeg, progressive = _encoded("JPEG", quality=80), _encoded("JPEG", quality=80, progressive=True, subsampling=0)
    png, rgba = _encoded("PNG"), _encoded("PNG", transparent=True)
    webp, lossless = _encoded("WEBP", quality=50, method=0), _encoded("WEBP", lossless=True, method=0)
    yield search("an ordinary picture", ordinary, **target)
    yield search("an ordinary picture, flip and crops=5", ordinary, flip="true", crops="5", **target)
    yield search(
        "an ordinary picture, cutout, flip and crops=5", ordinary, cutout="true", flip="true", crops="5", **target
    )
    yield search("an ordinary picture, explain", ordinary, path="/api/explain", id=product_id, **target)
    yield search("JPEG of 32 megapixels", jpeg, **target)
    yield search("progressive JPEG of 32 megapixels", progressive, **target)
    yield search("progressive JPEG with 60 scans", _repeat_last_scan(progressive, 50), **target)
    yield search("PNG of 32 megapixels", png, **target)
    yield search("PNG with 16 bits and alpha", _deep_png(), **target)
    yield search("PNG with alpha, cutout", rgba, cutout="true", **target)
    yield search("PNG, flip and crops=5", png, flip="true", crops="5", **target)
    yield search("WebP of 32 megapixels", webp, **target)
    yield search("lossless WebP, fuse", lossless, fuse=model, **target)
    yield search("WebP, explain", webp, path="/api/explain", id=product_id, **target)
    yield search("WebP, cutout", webp, cutout="true", **target)
    yield search("WebP, cutout, flip and crops=5", webp, cutout="true", flip="true", crops="5", **target)
    yield many_pictures("16 PNGs of 32 megapixels to recommend", png, 16, **target)


def many_pictures(name: str, picture: bytes, count: int, /, **fields: str) -> Kind:
    """A recommendation by several uploaded pictures."""
    content_type, body = form(picture, fields.items(), part="positiveImage", times=count)
    return Kind(name, "/api/recommend", body, (("Content-Type", content_type),))


def wire(kind: Kind, host: str, key: str | None = None) -> bytes:
    """The whole HTTP request as bytes."""
    headers = [("Host", host), ("Content-Length", str(len(kind.body))), *kind.headers]
    if key:
        headers.append(("Authorization", f"Bearer {key}"))
    head = f"{kind.method} {kind.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    return head.encode() + b"\r\n" + kind.body


def _encoded(form_of: str, *, transparent: bool = False, **options: object) -> bytes:
    """A plain picture of the largest size: few bytes, as in an attack."""
    image = Image.new("RGB", LARGE, (200, 30, 40))
    image.paste((20, 60, 90), (LARGE[0] // 4, LARGE[1] // 4, 3 * LARGE[0] // 4, 3 * LARGE[1] // 4))
    if transparent:
        image = image.convert("RGBA")
        image.putalpha(200)
    written = io.BytesIO()
    image.save(written, form_of, **options)
    return written.getvalue()


def _repeat_last_scan(jpeg: bytes, times: int) -> bytes:
    """A progressive JPEG with its last scan repeated. Each scan passes over the whole picture."""
    end = jpeg.rfind(b"\xff\xd9")
    start = jpeg.rfind(b"\xff\xda")
    table = jpeg.rfind(b"\xff\xc4", 0, start)
    return jpeg[:end] + jpeg[table:end] * times + jpeg[end:]


def _deep_png() -> bytes:
    """16 bits per sample, RGBA, each row filtered by the one above."""
    width, height = LARGE
    packer = zlib.compressobj(1)
    row = b"\x04" + b"\x7f" * (width * 8)
    parts = [packer.compress(row) for _ in range(height)]
    parts.append(packer.flush())

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"".join(parts)) + chunk(b"IEND", b"")
