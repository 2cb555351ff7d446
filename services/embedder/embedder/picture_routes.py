"""The routes for pictures that return no vectors: explanation of a match, check of a file, and thumbnail."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from embedder.call import Upload
from embedder.dependencies import (
    BINARY,
    FAILURES,
    PART_NAME,
    PICTURE_BODY,
    CallerOf,
    Ctx,
    DeadlineS,
    RegionText,
    ReleaseId,
    form_of_pictures,
    picture_of,
)
from embedder.explanation import OccludedPicture, explanation_of
from vitrine.embedding.wire import MAX_BATCH, server_timing
from vitrine.errors import GarmentUnknown, ParameterInvalid
from vitrine.images.checks import check_image, decode_cost
from vitrine.images.decode import decode_image
from vitrine.images.regions import parse_region
from vitrine.images.thumbnails import (
    THUMBNAIL_MEDIA_TYPE,
    THUMBNAIL_WIDTHS_PX,
    check_thumbnail_width,
    make_thumbnail,
    thumbnail_cost,
)
from vitrine.types import Pixels
from vitrine.web import problem_responses, read_form, requires

router = APIRouter()
_PICTURES = 2
_SMALL_PX = 512


class ExplainResponse(BaseModel):
    """Why two pictures are alike."""

    release: str
    score: float = Field(description="Cosine similarity of the two")
    heats: list[list[list[float]]] = Field(description="By picture, row and column: the fall without that part")
    picture: str = Field(description="Both pictures with their heat: a PNG, in base64")
    query: str = Field(description="What was seen of the first picture: a PNG, in base64")


@router.post(
    "/v1/explain",
    summary="Show where two pictures are alike",
    response_model=ExplainResponse,
    tags=["embed"],
    responses=problem_responses(*FAILURES, GarmentUnknown),
    openapi_extra=form_of_pictures(_PICTURES, _PICTURES),
)
@requires("embed", work="query")
async def explain(
    request: Request,
    context: Ctx,
    caller: CallerOf,
    deadline_s: DeadlineS,
    release: ReleaseId,
    region: RegionText = "",
    parser: Annotated[
        str | None, Query(min_length=1, max_length=140, description="The parser that finds `garment`")
    ] = None,
    garment: Annotated[
        int | None, Query(ge=0, le=99, description="The garment of the first picture to look at, cut out: its number")
    ] = None,
) -> Response:
    """Two parts named `image`. Parts of each picture are covered in turn; it takes about a hundred vectors.

    `region` and `garment` are of the first picture.
    """
    if (garment is None) != (parser is None) or (garment is not None and region):
        raise ParameterInvalid("garment needs a parser, and cannot be combined with region: give parser=ID&garment=N")
    part = parse_region(region) if region else None
    pictures = (await read_form(request)).all_pictures(PART_NAME, most=MAX_BATCH)
    if len(pictures) != _PICTURES:
        raise ParameterInvalid(f"send two pictures, not {len(pictures)}")
    async with context.loaded([release], deadline_s=deadline_s) as (loaded,):
        product = OccludedPicture.of_file(loaded, pictures[1])
        if garment is not None and parser is not None:
            async with context.garment_finder(parser, deadline_s=deadline_s, caller=caller) as finder:
                query, answer = await finder.explain(loaded, pictures[0], garment, product)
        else:
            query = OccludedPicture.of_file(loaded, pictures[0], part)
            answer = await context.pipeline.run(
                [query.upload, product.upload], space="projected", deadline_s=deadline_s, caller=caller
            )
    found = await asyncio.to_thread(explanation_of, query, product, np.stack(answer.all_results()))
    explained = {
        "release": release,
        "score": found.score,
        "heats": [heat.tolist() for heat in found.heats],
        "picture": base64.b64encode(found.png).decode(),
        "query": base64.b64encode(found.first_png).decode(),
    }
    return JSONResponse(explained, headers={"Server-Timing": server_timing(answer.timings_ms)})


@router.post(
    "/v1/check",
    summary="Decode a picture and drop it",
    status_code=204,
    tags=["embed"],
    responses=problem_responses(*FAILURES),
    openapi_extra=PICTURE_BODY,
)
@requires("embed", work="query")
async def check(request: Request, context: Ctx, caller: CallerOf, deadline_s: DeadlineS) -> Response:
    """The body is the picture file. It is decoded as it would be to embed it, so what passes here can be embedded."""
    data = await picture_of(request)
    limits = context.settings.image_limits

    def prepare() -> list[Pixels]:
        decode_image(data, target_px=_SMALL_PX, limits=limits)
        return []

    upload = Upload((), prepare, decode_cost(check_image(data, limits=limits), len(data)))
    answer = await context.pipeline.run([upload], space="projected", deadline_s=deadline_s, caller=caller)
    answer.all_results()
    return Response(status_code=204)


@router.post(
    "/v1/thumbnail",
    summary="Make a small WebP of a picture",
    tags=["pictures"],
    response_class=Response,
    responses={
        200: {
            "content": {THUMBNAIL_MEDIA_TYPE: BINARY},
            "description": "The same bytes for the same picture and width",
        },
        **problem_responses(*FAILURES),
    },
    openapi_extra=PICTURE_BODY,
)
@requires("embed", work="query")
async def thumbnail(
    request: Request,
    context: Ctx,
    caller: CallerOf,
    deadline_s: DeadlineS,
    width: Annotated[
        int,
        Query(
            description="Pixels that it is wide at most: no picture is enlarged, and a very tall one is narrower",
            json_schema_extra={"enum": list(THUMBNAIL_WIDTHS_PX)},
        ),
    ],
) -> Response:
    """The body is the picture file. The thumbnail stands upright, on white, and has no metadata."""
    check_thumbnail_width(width)
    data = await picture_of(request)
    limits = context.settings.image_limits
    made: list[bytes] = []

    def prepare() -> list[Pixels]:
        made.append(make_thumbnail(data, width, limits=limits))
        return []

    upload = Upload((), prepare, thumbnail_cost(check_image(data, limits=limits), len(data), width))
    answer = await context.pipeline.run([upload], space="projected", deadline_s=deadline_s, caller=caller)
    answer.all_results()
    timing = {"Server-Timing": server_timing(answer.timings_ms)}
    return Response(made[0], media_type=THUMBNAIL_MEDIA_TYPE, headers=timing)
