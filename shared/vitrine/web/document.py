"""The route of the OpenAPI document. FastAPI's own route declares no scope."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from vitrine.web.access import open_to_all


def document_router() -> APIRouter:
    """`/openapi.json`, for an application made with `openapi_url=None`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    @open_to_all
    async def openapi_document(request: Request) -> Response:
        document = request.app.openapi()
        if prefix := request.scope.get("root_path"):
            document = {**document, "servers": [{"url": prefix}]}
        return JSONResponse(document)

    return router
