"""Routes that every service has: health, metrics and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import JSONResponse, Response

from vitrine.web.access import health_call, open_to_all, requires

# Returns (ready, facts). The facts are in the answer either way, so an unready service explains itself. They may
# override `status`, with `degraded` for example.
Readiness = Callable[[], tuple[bool, Mapping[str, Any]]]


def health_router(*, registry: CollectorRegistry, readiness: Readiness) -> APIRouter:
    """`/livez` (the process runs), `/readyz` (it can work) and `/metrics` (Prometheus text)."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", summary="Is the process running?")
    @health_call
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        "/readyz",
        summary="Can the service work?",
        response_model=None,
        responses={503: {"description": "Not ready; the body says why"}},
    )
    @health_call
    async def readyz() -> Response:
        ready, facts = readiness()
        body = {"status": "ready" if ready else "unready", **facts}
        return JSONResponse(body) if ready else JSONResponse(body, status_code=503, headers={"Retry-After": "1"})

    @router.get("/metrics", summary="Metrics as Prometheus text", response_class=Response)
    @requires("admin", work="unbounded")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def document_router() -> APIRouter:
    """`/openapi.json`, for an application made with `openapi_url=None`: FastAPI's own route declares no scope."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    @open_to_all
    async def openapi_document(request: Request) -> Response:
        document = request.app.openapi()
        if prefix := request.scope.get("root_path"):
            document = {**document, "servers": [{"url": prefix}]}
        return JSONResponse(document)

    return router
