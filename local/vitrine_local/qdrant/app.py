"""The application: Qdrant's paths, and the work in the background that lives as long as it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from vitrine.web import SiteGuard
from vitrine_local.qdrant import collection_calls, point_calls, search_calls
from vitrine_local.qdrant.endpoint import Call, Gate, Handler, endpoint
from vitrine_local.qdrant.errors import Unsupported
from vitrine_local.qdrant.optimizer import Optimizer
from vitrine_local.qdrant.store import Store

# What Vitrine asks a server to be; the client checks that it is near its own version.
QDRANT_VERSION: Final = "1.20.0"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# As a server does for a caller that accepts it, at the same level; Vitrine's own clients do not.
_COMPRESSION: Final = Middleware(GZipMiddleware, minimum_size=0, compresslevel=6)

_COLLECTION: Final = "/collections/{name}"
_POINTS: Final = f"{_COLLECTION}/points"
_CALLS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", f"{_POINTS}/query", search_calls.query_points),
    ("POST", f"{_POINTS}/query/batch", search_calls.query_batch),
    ("POST", f"{_POINTS}/query/groups", search_calls.query_groups),
    ("POST", f"{_COLLECTION}/facet", point_calls.facet),
    ("POST", f"{_POINTS}/count", point_calls.count_points),
    ("POST", f"{_POINTS}/scroll", point_calls.scroll_points),
    ("POST", f"{_POINTS}/delete", point_calls.delete_points),
    ("POST", f"{_POINTS}/batch", point_calls.batch_update),
    ("POST", f"{_POINTS}/payload", point_calls.set_payload),
    ("PUT", f"{_POINTS}/payload", point_calls.overwrite_payload),
    ("POST", f"{_POINTS}/payload/delete", point_calls.delete_payload),
    ("POST", f"{_POINTS}/payload/clear", point_calls.clear_payload),
    ("PUT", f"{_POINTS}/vectors", point_calls.update_vectors),
    ("POST", _POINTS, point_calls.get_points),
    ("PUT", _POINTS, point_calls.upsert_points),
    ("GET", f"{_POINTS}/{{id}}", point_calls.get_point),
    ("PUT", f"{_COLLECTION}/index", collection_calls.create_index),
    ("DELETE", f"{_COLLECTION}/index/{{field}}", collection_calls.delete_index),
    ("POST", "/collections/aliases", collection_calls.change_aliases),
    ("GET", f"{_COLLECTION}/aliases", collection_calls.list_collection_aliases),
    ("GET", f"{_COLLECTION}/exists", collection_calls.collection_exists),
    ("GET", "/aliases", collection_calls.list_aliases),
    ("GET", "/issues", collection_calls.list_issues),
    ("GET", "/collections", collection_calls.list_collections),
    ("GET", _COLLECTION, collection_calls.get_collection),
    ("PUT", _COLLECTION, collection_calls.create_collection),
    ("PATCH", _COLLECTION, collection_calls.update_collection),
    ("DELETE", _COLLECTION, collection_calls.delete_collection),
)
_ANY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def create_app(
    store: Store,
    *,
    api_key: str | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    hosts: frozenset[str] | None = frozenset(),
) -> Starlette:
    """The application over an opened store, which it closes when it stops. `hosts` as for `SiteGuard`."""
    gate = Gate(api_key=api_key, max_body_bytes=max_body_bytes)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        optimizing = asyncio.create_task(Optimizer(store).run())
        try:
            yield
        finally:
            optimizing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await optimizing
            store.close()

    routes = [
        Route(path, endpoint(handler, store=store, gate=gate), methods=[method]) for method, path, handler in _CALLS
    ]
    health = [Route(path, _healthy) for path in ("/readyz", "/livez", "/healthz")]
    rest = Route("/{rest:path}", endpoint(_unsupported, store=store, gate=gate), methods=list(_ANY_METHOD))
    return Starlette(
        routes=[Route("/", _version), *health, *routes, rest],
        lifespan=lifespan,
        middleware=[Middleware(SiteGuard, hosts=hosts), _COMPRESSION],
    )


async def _version(_: Request) -> Response:
    return JSONResponse({"title": "qdrant - vector search engine (local)", "version": QDRANT_VERSION})


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("all shards are ready")


async def _unsupported(call: Call) -> Any:
    raise Unsupported(f"{call.request.method} {call.request.url.path}")
