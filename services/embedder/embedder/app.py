"""The embedder as an ASGI application: its components, their lifespan, routes and middleware."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from embedder import garment_routes, picture_routes, routes
from embedder.admission import EarlyAdmission
from embedder.dependencies import Context
from embedder.metrics import Metrics
from embedder.model_cache import ModelCache
from embedder.pipeline import Pipeline
from embedder.preload import Preload
from embedder.readiness import Readiness
from embedder.settings import Settings
from vitrine.releases import ReleaseStore
from vitrine.telemetry import HttpMetrics
from vitrine.vision.network import choose_device, passes_at_once
from vitrine.web import (
    KeyRing,
    declared_routes,
    document_router,
    health_router,
    install_middleware,
    install_problem_handlers,
    key_between_services,
)

_DESCRIPTION: Final = (
    "Pictures in, unit-length vectors out. Every call names the release whose vectors it wants, so vector spaces never "
    "mix. Internal: it has no keys of its own and belongs behind the search API, on a private network."
)
_BATCH_ON_CPU: Final = 4
_BATCH_ON_GPU: Final = 64
# For the batch class while searches arrive: a search waits at most for one such pass.
_SHORT_BATCH_ON_CPU: Final = 2
# The middleware answers a request that takes longer than its deadline plus this margin.
_ANSWER_MARGIN_S: Final = 5.0


def create_app(settings: Settings) -> FastAPI:
    """Build the application. Its threads start with the lifespan; releases are loaded at their first use."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    choice = choose_device(settings.device, settings.precision)
    store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
    max_batch = settings.max_batch or (_BATCH_ON_CPU if choice.device.type == "cpu" else _BATCH_ON_GPU)
    models = ModelCache(
        store,
        choice,
        max_bytes=settings.releases_max_bytes,
        largest_batch=max_batch,
        metrics=metrics,
        limits=settings.image_limits,
    )
    pipeline = Pipeline(
        decode_threads=settings.decode_threads,
        max_batch=max_batch,
        passes_at_once=passes_at_once(choice),
        max_wait_s=settings.max_wait_ms / 1000,
        max_pictures=settings.queue_max_pictures,
        metrics=metrics,
        max_delay_s=settings.queue_max_delay_s,
        max_heavy=settings.heavy_calls,
        decode_bytes=settings.decode_bytes,
        held_bytes=settings.regions_bytes,
        short_batch=_SHORT_BATCH_ON_CPU if choice.device.type == "cpu" else None,
    )
    preload = Preload(store, models, releases=settings.preload, parser_model=settings.parser_model)
    readiness = Readiness(pipeline, models, preload, interval_s=settings.self_check_interval_s)
    context = Context(settings, store, models, pipeline, readiness)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pipeline.start()
        await preload.load_releases()
        background = [asyncio.create_task(readiness.keep_checking()), asyncio.create_task(preload.load_parser())]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await asyncio.to_thread(pipeline.close)
            models.close()

    app = FastAPI(
        title="Vitrine embedder",
        version=version("vitrine-embedder"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,
        redoc_url=None,
        docs_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    app.include_router(routes.router)
    app.include_router(garment_routes.router)
    app.include_router(picture_routes.router)
    app.include_router(health_router(registry=registry, readiness=readiness.facts))
    app.include_router(document_router())
    install_problem_handlers(app)
    declared = declared_routes(app)  # a route without a scope does not start
    install_middleware(
        app,
        settings=settings,
        routes=declared,
        metrics=HttpMetrics(registry),
        host=settings.embedder_host,
        ring=KeyRing(key_between_services("services", settings.embedder_api_key)),
        max_body_bytes=settings.max_request_bytes,
        max_concurrent=settings.max_requests,
        # Only calls that process a picture are counted and timed.
        timeouts_s={
            "query": settings.embed_timeout_s + _ANSWER_MARGIN_S,
            "call": None,
            "write": None,
            "unbounded": None,
        },
        before_body=[Middleware(EarlyAdmission, wanted=declared.is_query, check=pipeline.check_capacity)],
    )
    return app
