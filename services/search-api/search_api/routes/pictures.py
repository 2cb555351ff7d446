"""The pictures of products."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.context import Ctx
from search_api.routes.documents import READ_ERRORS
from search_api.routes.products import Dataset, ProductId
from vitrine.errors import PictureNotFound, ProductNotFound
from vitrine.image_checks import MEDIA_TYPES
from vitrine.web import problem_responses, requires

router = APIRouter(tags=["products"])
# Short, because a put replaces the picture under the same address; the entity tag makes asking again cheap.
_CACHE_CONTROL = "private, max-age=60"


@router.get(
    "/api/images/{product_id}",
    summary="The picture of a product",
    response_class=Response,
    responses={
        200: {
            "description": "The picture's file as it is stored",
            "content": {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()},
        },
        304: {"description": "The picture is still the one of the entity tag in `If-None-Match`"},
        **problem_responses(*READ_ERRORS, ProductNotFound, PictureNotFound),
    },
)
@requires("search")
async def get_picture(request: Request, context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    picture = await context.pictures.get(await context.retrieval.dataset(dataset), product_id)
    headers = {"ETag": picture.etag, "Cache-Control": _CACHE_CONTROL}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if picture.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    # The type is of our own list and told to be final, so that no browser runs a picture as a page.
    headers["X-Content-Type-Options"] = "nosniff"
    return Response(picture.data, media_type=picture.media_type, headers=headers)
