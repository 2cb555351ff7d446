"""The health routes. `/livez` says that the process runs, `/readyz` that it can do its work, `/metrics` is Prometheus
text. What readiness includes is the service's to say; its facts may name a `status` of their own, such as `degraded`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import JSONResponse, Response

from vitrine.web.access import health_call, requires

# Answers (ready, facts): the facts are shown either way, so that an unready service says why.
Readiness = Callable[[], tuple[bool, Mapping[str, Any]]]


def health_router(*, registry: CollectorRegistry, readiness: Readiness) -> APIRouter:
    """The three routes, for a service whose readiness is what `readiness` says."""
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
