"""The API documentation and the static files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.pages.static_files import URL_ROOT
from search_api.pages.templating import Pages, render
from vitrine.web import open_to_all

router = APIRouter(include_in_schema=False)
_READ = ["GET", "HEAD"]


@router.api_route("/docs", methods=_READ)
@open_to_all
async def documentation(request: Request) -> Response:
    return render(request, "docs.html")


@router.api_route(URL_ROOT + "/{version}/{path:path}", methods=_READ)
@open_to_all
async def static_file(request: Request, version: str, path: str) -> Response:
    pages: Pages = request.app.state.pages
    return pages.static.answer(request, version, path)
