"""The routes that need a parser alone: the garments of a picture, and the picture with blurred faces."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from embedder.dependencies import (
    BINARY,
    FAILURES,
    PICTURE_BODY,
    CallerOf,
    Ctx,
    DeadlineS,
    ParserId,
    ReleaseId,
    picture_of,
)
from embedder.parsed_picture import ANONYMOUS_MEDIA_TYPE
from embedder.schemas import RegionsResponse
from vitrine.embedding.wire import VECTOR_MEDIA_TYPE, server_timing
from vitrine.images.checks import picture_header
from vitrine.images.formats import MEDIA_TYPES
from vitrine.web import problem_responses, requires

router = APIRouter()


@router.post(
    "/v1/regions",
    summary="Find the garments of a picture",
    response_model=RegionsResponse,
    tags=["garments"],
    responses=problem_responses(*FAILURES),
    openapi_extra=PICTURE_BODY,
)
@requires("embed", work="query")
async def regions(
    request: Request, context: Ctx, caller: CallerOf, deadline_s: DeadlineS, release: ReleaseId
) -> Response:
    """The body is the picture file, `release` a parser. A picture without garments has an empty list."""
    data = await picture_of(request)
    async with context.garment_finder(release, deadline_s=deadline_s, caller=caller) as finder:
        found = await finder.regions(data)
    return JSONResponse(found.document(), headers={"Server-Timing": server_timing(found.timings_ms)})


@router.post(
    "/v1/anonymize",
    summary="Blur the faces of a picture",
    tags=["garments"],
    response_class=Response,
    responses={
        200: {
            "content": {ANONYMOUS_MEDIA_TYPE: BINARY, VECTOR_MEDIA_TYPE: BINARY},
            "description": "A JPEG, upright and without metadata; the file as it was sent if it shows no one",
        },
        **problem_responses(*FAILURES),
    },
    openapi_extra=PICTURE_BODY,
)
@requires("embed", work="query")
async def anonymize(
    request: Request, context: Ctx, caller: CallerOf, deadline_s: DeadlineS, parser: ParserId
) -> Response:
    """The body is the picture file. Skin and hair of heads are blurred so that nothing of a face can be restored."""
    data = await picture_of(request)
    async with context.garment_finder(parser, deadline_s=deadline_s, caller=caller) as finder:
        blurred, timings_ms = await finder.anonymous(data)
    media_type = ANONYMOUS_MEDIA_TYPE if blurred is not None else MEDIA_TYPES[picture_header(data).format]
    return Response(
        data if blurred is None else blurred,
        media_type=media_type,
        headers={"Server-Timing": server_timing(timings_ms)},
    )
