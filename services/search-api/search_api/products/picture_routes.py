"""The route of products' pictures and thumbnails."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from search_api.context import Ctx
from search_api.openapi import READ_ERRORS
from search_api.products.pictures import Picture
from search_api.products.schemas import Dataset, ProductId
from vitrine.errors import PictureNotFound, ProductNotFound
from vitrine.images.formats import MEDIA_TYPES, NOT_SHOWN_BY_BROWSERS
from vitrine.images.thumbnails import THUMBNAIL_WIDTHS_PX, check_thumbnail_width
from vitrine.web import problem_responses, requires

router = APIRouter(tags=["products"])
# Short, because a put replaces the picture at the same address; the entity tag makes revalidation cheap.
_CACHE_CONTROL: Final = "private, max-age=60"
_STAND_IN: Final = "private, max-age=10"
_FOREVER: Final = "private, max-age=31536000, immutable"
_VERSION_CHARS: Final = 12


def _known_width(value: object) -> object:
    known = ", ".join(map(str, THUMBNAIL_WIDTHS_PX[:-1]))
    if isinstance(value, str) and value not in map(str, THUMBNAIL_WIDTHS_PX):
        raise ValueError(f"thumbnails are {known} or {THUMBNAIL_WIDTHS_PX[-1]} pixels wide")
    return value


Width = Annotated[
    int | None,
    BeforeValidator(_known_width),
    Query(
        description="Pixels that the picture is wide at most: a thumbnail (WebP) where it is wider",
        json_schema_extra={"enum": list(THUMBNAIL_WIDTHS_PX)},
    ),
]
Version = Annotated[
    str | None,
    Query(
        max_length=64,
        description="The beginning of the picture's SHA-256, as pages know it: with it the answer may be kept for good",
    ),
]
Index = Annotated[
    int,
    Query(ge=0, le=999, description="Which of the product's `pictures`, from 0, the first one"),
]
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The picture's file as it is stored, or its thumbnail",
        "content": {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()},
    },
    304: {"description": "The picture is still the one of the entity tag in `If-None-Match`"},
    **problem_responses(*READ_ERRORS, ProductNotFound, PictureNotFound),
}


@router.head("/api/images/{product_id:path}", summary="Headers of a product's picture", responses=_RESPONSES)
@router.get(
    "/api/images/{product_id:path}",
    summary="The picture of a product",
    description=(
        "With `width` no wider than that. A picture that is not wider is the file as it is stored, and so is one whose "
        "thumbnail cannot be made at the moment. HEIC and TIFF, which browsers do not show, are answered as WebP, at "
        f"most {THUMBNAIL_WIDTHS_PX[-1]} pixels wide, or with 503 if that cannot be made at the moment."
    ),
    response_class=Response,
    responses=_RESPONSES,
)
@requires("search")
async def get_picture(
    request: Request,
    context: Ctx,
    product_id: ProductId,
    dataset: Dataset = None,
    width: Width = None,
    picture: Index = 0,
    v: Version = None,
) -> Response:
    name = await context.retrieval.dataset(dataset)
    if width is None:
        found = await context.pictures.get(name, product_id, picture)
        if found.media_type in NOT_SHOWN_BY_BROWSERS:
            found = await context.thumbnails.get(name, product_id, THUMBNAIL_WIDTHS_PX[-1], picture)
    else:
        found = await context.thumbnails.get(name, product_id, check_thumbnail_width(width), picture)
    headers = {"ETag": found.etag, "Cache-Control": _cache_control(found, v)}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if found.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    # The media type is from a fixed list and nosniff is set, so that no browser runs a picture as a page.
    headers["X-Content-Type-Options"] = "nosniff"
    return Response(found.data, media_type=found.media_type, headers=headers)


def _cache_control(picture: Picture, version: str | None) -> str:
    if picture.is_stand_in:
        return _STAND_IN
    named = version is not None and len(version) >= _VERSION_CHARS and picture.sha256 is not None
    return _FOREVER if named and str(picture.sha256).startswith(str(version)) else _CACHE_CONTROL
