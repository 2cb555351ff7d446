"""The application: Qdrant's paths, and the optimizer in the background."""

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
from vitrine_local.qdrant import collection_routes, point_routes
from vitrine_local.qdrant.endpoint import Call, Gate, Handler, endpoint
from vitrine_local.qdrant.errors import Unsupported
from vitrine_local.qdrant.optimizer import Optimizer
from vitrine_local.qdrant.store import Store

# The server version that clients compare with their own.
QDRANT_VERSION: Final = "1.20.0"
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# Like the real server, for clients that accept it. Vitrine's own clients do not.
_COMPRESSION: Final = Middleware(GZipMiddleware, minimum_size=0, compresslevel=6)

_COLLECTION: Final = "/collections/{name}"
_POINTS: Final = f"{_COLLECTION}/points"
_ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("POST", f"{_POINTS}/query", point_routes.query_points),
    ("POST", f"{_POINTS}/query/batch", point_routes.query_batch),
    ("POST", f"{_POINTS}/query/groups", point_routes.query_groups),
    ("POST", f"{_COLLECTION}/facet", point_routes.facet),
    ("POST", f"{_POINTS}/count", point_routes.count_points),
    ("POST", f"{_POINTS}/scroll", point_routes.scroll_points),
    ("POST", f"{_POINTS}/delete", point_routes.delete_points),
    ("POST", f"{_POINTS}/payload", point_routes.set_payload),
    ("PUT", f"{_POINTS}/payload", point_routes.overwrite_payload),
    ("POST", f"{_POINTS}/payload/delete", point_routes.delete_payload),
    ("POST", _POINTS, point_routes.get_points),
    ("PUT", _POINTS, point_routes.upsert_points),
    ("PUT", f"{_COLLECTION}/index", collection_routes.create_index),
    ("DELETE", f"{_COLLECTION}/index/{{field}}", collection_routes.delete_index),
    ("POST", "/collections/aliases", collection_routes.change_aliases),
    ("GET", f"{_COLLECTION}/exists", collection_routes.collection_exists),
    ("GET", "/aliases", collection_routes.list_aliases),
    ("GET", "/issues", collection_routes.list_issues),
    ("GET", "/collections", collection_routes.list_collections),
    ("GET", _COLLECTION, collection_routes.get_collection),
    ("PUT", _COLLECTION, collection_routes.create_collection),
    ("PATCH", _COLLECTION, collection_routes.update_collection),
    ("DELETE", _COLLECTION, collection_routes.delete_collection),
)
_ANY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def create_app(
    store: Store,
    *,
    api_key: str | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    hosts: frozenset[str] | None = frozenset(),
) -> Starlette:
    """The application for an open store, which it closes when it stops. `hosts`: see `SiteGuard`."""
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
        Route(path, endpoint(handler, store=store, gate=gate), methods=[method]) for method, path, handler in _ROUTES
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
