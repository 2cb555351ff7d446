"""The pictures that benchmarks send, and the multipart forms around them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SEED: Final = 1
_BOUNDARY: Final = "benchmark-7d1f0c"


def pictures_below(folder: Path) -> list[Path]:
    """All picture files below a folder, sorted. Raises SystemExit if there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"no pictures below {folder}")
    return found


def sample(pictures: list[Path], count: int) -> list[Path]:
    """At most `count` of the pictures, the same in every run."""
    return random.Random(SEED).sample(pictures, min(len(pictures), count))


def form(
    picture: bytes, fields: Iterable[tuple[str, str]], *, part: str = "image", times: int = 1
) -> tuple[str, bytes]:
    """(content type, body) of a multipart form with `fields` and the picture, repeated `times` times."""
    texts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{part}"; filename="q"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    body = b"".join([*texts, *([head, picture, b"\r\n"] * times), f"--{_BOUNDARY}--\r\n".encode()])
    return f"multipart/form-data; boundary={_BOUNDARY}", body
