"""Product ids in addresses. An id may hold any printable text, slashes included.

Servers decode `%2F` before they match a path, and some proxies do so before they pass it on. Both forms are
understood: `/api/products/A%2F12/similar` and `/api/products/A/12/similar`. Where a proxy changes an id in another way
(`a//b`), the id can be given in the query: `/api/products/similar?id=A%2F12`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

# Stands for a slash inside an id while a path is matched. No id contains it, because it is not printable.
_SLASH: Final = "\x1f"
_BASES: Final = ("/api/products", "/api/images", "/products")
_ENDINGS: Final = ("", "/similar", "/restore", "/variants", "/more")
_BY_QUERY: Final = {f"{base}{ending}": (base, ending) for base in _BASES for ending in _ENDINGS}


def id_of_path(text: str) -> str:
    """The product id of a path parameter."""
    return text.replace(_SLASH, "/")


class ProductAddresses:
    """ASGI middleware. Keeps an encoded slash apart from one that separates parts of the path, takes the id from the
    query where the path has none, and answers a path with a slash at its end like one without.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(_addressed(scope) if scope["type"] == "http" else scope, receive, send)


def _addressed(scope: Scope) -> Scope:
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw and path.startswith(tuple(f"{base}/" for base in _BASES)):
        parts = raw.decode("latin-1").partition("?")[0].split("/")
        path = "/".join(unquote(part, errors="replace").replace("/", _SLASH) for part in parts)
    if not path.startswith("/static/"):  # a static file has one address
        path = path.rstrip("/") or "/"
    named = _BY_QUERY.get(path)
    if named is not None and b"id=" in scope["query_string"]:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        ids = [value for name, value in pairs if name == "id"]
        if len(ids) == 1 and ids[0]:
            rest = urlencode([pair for pair in pairs if pair[0] != "id"])
            base, ending = named
            placed = ids[0].replace("/", _SLASH)
            return {**scope, "path": f"{base}/{placed}{ending}", "query_string": rest.encode()}
    return scope if path == scope["path"] else {**scope, "path": path}
