"""The static files of the pages, read into memory once. Their addresses contain a hash of the whole tree, so that
browsers can cache them for good and modules can import each other by relative addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from vitrine.errors import NotFound

URL_ROOT: Final = "/static"
_HASH_CHARS: Final = 12
_VENDOR: Final = "vendor/"
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".txt": "text/plain; charset=utf-8",
}
_COMPRESSED: Final = frozenset({".css", ".js", ".mjs", ".svg", ".txt"})
_FOREVER: Final = "public, max-age=31536000, immutable"
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


@dataclass(slots=True)
class StaticFile:
    """One file. `packed` is its gzip form, made on first use; None if that is not smaller."""

    data: bytes
    media_type: str
    etag: str
    compressible: bool
    _packed: bytes | None = field(default=None, repr=False)

    @property
    def packed(self) -> bytes | None:
        if self.compressible and self._packed is None:
            self._packed = gzip.compress(self.data, 9, mtime=0)
        return self._packed


class StaticFiles:
    """Every file below a folder of the package."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        """`contents` maps paths to bytes. Files of an unknown media type are left out."""
        whole = hashlib.sha256()
        self._files: dict[str, StaticFile] = {}
        for path, data in sorted(contents.items()):
            suffix = PurePosixPath(path).suffix
            if suffix not in _MEDIA_TYPES:
                continue
            digest = hashlib.sha256(data).hexdigest()
            whole.update(f"{path} {digest}\n".encode())
            self._files[path] = StaticFile(
                data, _MEDIA_TYPES[suffix], f'"{digest[:_HASH_CHARS]}"', compressible=suffix in _COMPRESSED
            )
        self.version: Final = whole.hexdigest()[:_HASH_CHARS]

    @classmethod
    def of_package(cls) -> StaticFiles:
        """The files in `static` beside this module."""
        return cls(dict(_walk(files("search_api.pages") / "static", "")))

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def url(self, path: str) -> str:
        """The address of a file, without the path prefix. Raises KeyError."""
        if path not in self._files:
            raise KeyError(f"no static file {path!r}")
        return f"{URL_ROOT}/{self.version}/{path}"

    def vendored(self, package: str, name: str) -> str:
        """The address of a vendored file, whatever its version. Raises KeyError."""
        for path in self._files:
            folder, _, rest = path.removeprefix(_VENDOR).partition("/")
            if path.startswith(_VENDOR) and rest == name and folder.rpartition("-")[0] == package:
                return self.url(path)
        raise KeyError(f"no vendored file {name!r} of {package!r}")

    def answer(self, request: Request, version: str, path: str) -> Response:
        """The response for a file. Raises NotFound.

        An address of another version, from a page loaded earlier, gets the current file and must not be cached.
        """
        file = self._files.get(path)
        if file is None:
            raise NotFound("no such file")
        keep = _FOREVER if version == self.version else "no-cache"
        headers = {**_HEADERS, "ETag": file.etag, "Cache-Control": keep}
        if file.compressible:
            headers["Vary"] = "Accept-Encoding"
        if file.etag in _tags(request):
            return Response(status_code=304, headers=headers)
        data = file.data
        if file.packed is not None and accepts_gzip(request):
            data = file.packed
            headers["Content-Encoding"] = "gzip"
        return Response(data, media_type=file.media_type, headers=headers)


def accepts_gzip(request: Request) -> bool:
    """Whether the client accepts gzip."""
    for offer in request.headers.get("accept-encoding", "").split(","):
        coding, _, weight = offer.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _tags(request: Request) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        else:
            found.append((f"{prefix}{entry.name}", entry.read_bytes()))
    return found
