"""The search API as an ASGI application: its routes and its middleware."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from search_api.auth import Patience, RateLimit
from search_api.context import Context, build_context
from search_api.datasets.routes import router as datasets
from search_api.explain.routes import router as explain
from search_api.jobs.routes import router as jobs
from search_api.models.routes import router as models
from search_api.openapi import API_TITLE, DESCRIPTION, TAGS, VERSION, complete_document
from search_api.pages.catalogue import router as catalogue_pages
from search_api.pages.datasets import router as dataset_pages
from search_api.pages.jobs import router as job_pages
from search_api.pages.login import router as login
from search_api.pages.middleware import PageAnswers, PathPrefix
from search_api.pages.models import router as model_pages
from search_api.pages.product import router as product_pages
from search_api.pages.routes import router as frame
from search_api.pages.search import router as search_page
from search_api.pages.sessions import Sessions
from search_api.pages.status import router as status_pages
from search_api.pages.templating import build_pages
from search_api.pages.visitors import Visitors
from search_api.product_addresses import ProductAddresses
from search_api.products.list_routes import router as product_lists
from search_api.products.picture_routes import router as pictures
from search_api.products.routes import router as products
from search_api.search.routes import router as search
from search_api.settings import Settings, check_exposure
from search_api.status.routes import router as status
from vitrine.errors import VitrineError
from vitrine.telemetry import HttpMetrics
from vitrine.web import (
    KeyRing,
    declared_routes,
    document_router,
    health_router,
    install_middleware,
    install_problem_handlers,
    parse_api_keys,
)

# A write may wait for the indexer this long, and then needs time for its answer.
_WRITE_MARGIN_S = 5.0
_VERSION_RETRY_S = 5.0


def create_app(settings: Settings) -> FastAPI:
    """Build the application without connecting to anything. Raises SettingsInvalid."""
    check_exposure(settings)
    ring = KeyRing(
        parse_api_keys(settings.api_keys.get_secret_value()), wrong_keys_per_minute=settings.wrong_keys_per_minute
    )
    sessions = Sessions(ring.keys)
    public = frozenset({"search"}) if settings.public_pages else frozenset[str]()
    registry = CollectorRegistry()
    context = build_context(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        context.dependencies.start()
        context.redis_feed.start()
        looking = asyncio.create_task(_log_qdrant_version(context))
        yield
        looking.cancel()
        await context.close()

    app = FastAPI(
        title=API_TITLE,
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host header that the caller sent
        lifespan=lifespan,
    )
    app.state.context = context
    app.state.key_ring, app.state.sessions = ring, sessions
    for router in (frame, login, search, explain, product_lists, products, pictures, datasets, models, jobs, status):
        app.include_router(router)
    for pages_of in (search_page, catalogue_pages, product_pages, dataset_pages, job_pages, model_pages, status_pages):
        app.include_router(pages_of)
    app.include_router(health_router(registry=registry, readiness=_readiness(context)))
    app.include_router(document_router())
    install_problem_handlers(app)
    routes = declared_routes(app)
    complete_document(app, routes)
    visitors = Visitors(ring, sessions, public)
    pages = app.state.pages = build_pages(visitor_of=visitors.of, routes=routes)
    cross_origin = Middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
        expose_headers=["X-Request-ID", "Retry-After", "Location"],
    )
    install_middleware(
        app,
        settings=settings,
        routes=routes,
        metrics=HttpMetrics(registry),
        host=settings.api_host,
        ring=ring,
        sessions=sessions,
        public=public,
        max_body_bytes=settings.max_body_bytes,
        max_concurrent=settings.max_concurrent_requests,
        timeouts_s={
            "call": settings.request_timeout_s,
            "query": settings.request_timeout_s,
            "write": settings.product_write_timeout_s + _WRITE_MARGIN_S,
            "unbounded": None,
        },
        outer=[
            Middleware(PathPrefix, prefix=settings.path_prefix),
            Middleware(ProductAddresses),
            Middleware(PageAnswers, pages=pages),
        ],
        before_keys=[cross_origin] if settings.allowed_origins else [],
        before_body=[
            Middleware(RateLimit, routes=routes, per_s=settings.rate_limit_per_s, burst=settings.rate_limit_burst),
            Middleware(Patience, wanted=routes.is_query),
        ],
    )
    return app


async def _log_qdrant_version(context: Context) -> None:
    """Log a version that does not match the client, once Qdrant answers."""
    while True:
        try:
            await context.store.server.version()
            return
        except VitrineError:
            await asyncio.sleep(_VERSION_RETRY_S)


def _readiness(context: Context) -> Any:
    def readiness() -> tuple[bool, Mapping[str, Any]]:
        draining = context.lifecycle.draining.is_set()
        facts = {"draining": draining, **context.dependencies.facts()}
        if draining:
            facts["status"] = "unready"
        return not draining and context.dependencies.can_search, facts

    return readiness
