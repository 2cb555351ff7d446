"""The routes that embed one picture or a batch, and the list of releases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from embedder.call import Caller, Result, picture_views
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
    SpaceName,
    form_of_pictures,
    picture_of,
    wants_bytes,
)
from embedder.garments import parse_garments
from embedder.schemas import BatchResponse, EmbedResponse, GarmentsResponse, ReleaseInfo, ReleasesResponse
from vitrine.embedding.found_garments import GARMENTS_HEADER, annotation, encode_garments
from vitrine.embedding.wire import (
    FAMILIAR_HEADER,
    MAX_BATCH,
    MAX_PREDICTIONS,
    PREDICTED_HEADER,
    REJECTED_HEADER,
    SHAPES_HEADER,
    VECTOR_MEDIA_TYPE,
    Prediction,
    encode_batch,
    encode_familiar,
    encode_predicted,
    encode_views,
    mean_of,
    server_timing,
)
from vitrine.errors import (
    EmbeddingFailed,
    GarmentUnknown,
    ImageRejected,
    ParameterInvalid,
    VitrineError,
)
from vitrine.images.regions import parse_region
from vitrine.images.views import View, parse_views
from vitrine.types import Vectors
from vitrine.vision.classifier import LabelClassifier
from vitrine.web import problem_responses, read_form, requires

router = APIRouter()


@router.post(
    "/v1/embed",
    summary="Embed one picture",
    response_model=EmbedResponse | GarmentsResponse,
    tags=["embed"],
    responses={
        200: {
            "content": {VECTOR_MEDIA_TYPE: BINARY},
            "description": (
                "The vector. As float32 little-endian on request: one row; of several views their mean and a row for "
                f"each; then the same by the second release. `{SHAPES_HEADER}` lists `ROWSxDIM` of each. With "
                f"`garments`, `{GARMENTS_HEADER}` bytes of JSON come first, and the shapes are those of each garment."
            ),
        },
        **problem_responses(*FAILURES, GarmentUnknown),
    },
    openapi_extra=PICTURE_BODY,
)
@requires("embed", work="query")
async def embed(
    request: Request,
    context: Ctx,
    caller: CallerOf,
    deadline_s: DeadlineS,
    release: ReleaseId,
    space: SpaceName = "projected",
    views: Annotated[
        str,
        Query(
            max_length=60,
            description="Other ways to look at it, as `cutout,flip,crops:5`: the garment cut out, mirrored, cut closer",
        ),
    ] = "",
    region: RegionText = "",
    also: Annotated[
        str | None, Query(min_length=1, max_length=140, description="A second release, from the same decoding")
    ] = None,
    predict: Annotated[
        int | None,
        Query(
            ge=1,
            le=MAX_PREDICTIONS,
            description=(
                "How many of the likeliest labels to name, by the first release's own classifier; none are named if "
                "it has none"
            ),
        ),
    ] = None,
    parser: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=140,
            description="The parser whose masks cut garments out; `cutout` and `garments` need one",
        ),
    ] = None,
    garments: Annotated[
        str,
        Query(
            max_length=60,
            description="The garments to embed, each cut out: `all`, or numbers of `/v1/regions` such as `1,3`",
        ),
    ] = "",
) -> Response:
    """The body is the picture file: JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF."""
    seen = parse_views(views)
    part = parse_region(region) if region else None
    cuts_out = any(view.cutout for view in seen)
    if parser is None and (cuts_out or garments):
        raise ParameterInvalid("the view cutout and the option garments need a parser: name one as parser=ID")
    if garments:
        if part is not None or also is not None or space != "projected":
            raise ParameterInvalid("garments cannot be combined with region, also or space: leave those out")
        assert parser is not None
        return await _embed_garments(
            request, context, caller, deadline_s, release, parser, parse_garments(garments), seen, predict
        )
    data = await picture_of(request)
    releases = [release] if also is None else [release, also]
    async with context.loaded(releases, deadline_s=deadline_s) as loaded:
        classifier = loaded[0].classifier if predict is not None else None
        keep_features = classifier is not None
        if cuts_out and parser is not None:
            async with context.garment_finder(parser, deadline_s=deadline_s, caller=caller) as finder:
                answer = await finder.embed_cut_out(
                    loaded, data, seen, region=part, space=space, keep_features=keep_features
                )
        else:
            answer = await context.pipeline.run(
                [picture_views(loaded, data, seen, region=part)],
                space=space,
                deadline_s=deadline_s,
                caller=caller,
                keep_features=keep_features,
            )
    vectors = answer.all_results()
    blocks = [np.stack(vectors[start : start + len(seen)]) for start in range(0, len(vectors), len(seen))]
    # The first view decides whether the picture is in the release's domain.
    familiar = answer.familiar[:: len(seen)]
    body, shapes = encode_views(blocks)
    headers = {
        "Server-Timing": server_timing(answer.timings_ms),
        SHAPES_HEADER: shapes,
        FAMILIAR_HEADER: encode_familiar(familiar),
    }
    predicted: list[Prediction] = []
    if classifier is not None and predict is not None:
        predicted = await asyncio.to_thread(_predicted, classifier, answer.features[: len(seen)], predict)
        headers[PREDICTED_HEADER] = encode_predicted(predicted)
    if wants_bytes(request):
        return Response(body, media_type=VECTOR_MEDIA_TYPE, headers=headers)
    documents = [
        {
            "release": one,
            "dim": block.shape[1],
            "vector": mean_of(block).tolist(),
            "views": block.tolist(),
            "familiar": known,
        }
        for one, block, known in zip(releases, blocks, familiar, strict=True)
    ]
    labels = [asdict(one) for one in predicted] or None
    return JSONResponse(
        {**documents[0], "predicted": labels, "also": documents[1] if also is not None else None}, headers=headers
    )


@router.post(
    "/v1/embed/batch",
    summary="Embed up to 256 pictures",
    response_model=BatchResponse,
    tags=["embed"],
    responses={
        200: {
            "content": {VECTOR_MEDIA_TYPE: BINARY},
            "description": (
                "One result a picture, in order. As float32 little-endian a rejected picture's row is NaN, and "
                f"`{REJECTED_HEADER}` lists `row:code:detail`."
            ),
        },
        **problem_responses(*FAILURES),
    },
    openapi_extra=form_of_pictures(1, MAX_BATCH),
)
@requires("embed", work="query")
async def embed_batch(
    request: Request,
    context: Ctx,
    caller: CallerOf,
    deadline_s: DeadlineS,
    release: ReleaseId,
    space: SpaceName = "projected",
) -> Response:
    """Each part named `image` is a picture file. A picture that cannot be used costs its own result only."""
    pictures = (await read_form(request)).all_pictures(PART_NAME, most=MAX_BATCH)
    async with context.loaded([release], deadline_s=deadline_s) as (loaded,):
        embedded = await context.pipeline.embed(loaded, pictures, space=space, deadline_s=deadline_s, caller=caller)
    dim = loaded.network.dim if space == "projected" else loaded.network.raw_dim
    for result in embedded.results:
        # Any other error is the whole call's, so that nobody mistakes a partial answer for a complete one.
        if isinstance(result, VitrineError) and not isinstance(result, ImageRejected | EmbeddingFailed):
            raise result
    headers = {"Server-Timing": server_timing(embedded.timings_ms)}
    if wants_bytes(request):
        body, rejected = encode_batch(embedded.results, dim=dim)
        return Response(body, media_type=VECTOR_MEDIA_TYPE, headers={**headers, REJECTED_HEADER: rejected})
    results = [_as_json(*one) for one in zip(embedded.results, embedded.familiar, strict=True)]
    answer = {"release": release, "dim": dim, "results": results}
    return JSONResponse(answer, headers=headers)


@router.get("/v1/releases", summary="The releases of the store", response_model=ReleasesResponse, tags=["releases"])
@requires("embed")
async def releases(context: Ctx) -> ReleasesResponse:
    """Which releases can be asked for, and which of them are in memory."""
    sizes = {one.release_id: one.size_bytes for one in context.models.loaded()}
    ids = await asyncio.to_thread(context.store.ids)
    return ReleasesResponse(
        releases=[ReleaseInfo(release=one, loaded=one in sizes, bytes=sizes.get(one)) for one in ids]
    )


async def _embed_garments(
    request: Request,
    context: Ctx,
    caller: Caller,
    deadline_s: float,
    release: str,
    parser: str,
    numbers: tuple[int, ...] | None,
    seen: Sequence[View],
    predict: int | None,
) -> Response:
    """`embed` for the garments of the picture."""
    data = await picture_of(request)
    async with (
        context.loaded([release], deadline_s=deadline_s) as (loaded,),
        context.garment_finder(parser, deadline_s=deadline_s, caller=caller) as finder,
    ):
        classifier = loaded.classifier if predict is not None else None
        found = await finder.embed_garments(loaded, data, numbers, seen, keep_features=classifier is not None)
    vectors, count = found.answer.all_results(), len(seen)
    starts = range(0, len(vectors), count)
    blocks = [np.stack(vectors[start : start + count]) for start in starts]
    familiar = found.answer.familiar[::count]
    predicted: list[list[Prediction]] = [[] for _ in blocks]
    if classifier is not None and predict is not None:
        features = [found.answer.features[start : start + count] for start in starts]
        predicted = [await asyncio.to_thread(_predicted, classifier, one, predict) for one in features]
    headers = {"Server-Timing": server_timing(found.regions.timings_ms)}
    if wants_bytes(request):
        body, own = encode_garments(found.regions, blocks, list(map(annotation, familiar, predicted)))
        return Response(body, media_type=VECTOR_MEDIA_TYPE, headers={**headers, **own})
    embedded = [
        {
            "number": number,
            "vector": mean_of(block).tolist(),
            "views": block.tolist(),
            "familiar": known,
            "predicted": [asdict(one) for one in labels] or None,
        }
        for number, block, known, labels in zip(found.embedded, blocks, familiar, predicted, strict=True)
    ]
    told = {"release": release, "regions": found.regions.document(), "embedded": embedded}
    return JSONResponse(told, headers=headers)


def _predicted(classifier: LabelClassifier, features: Sequence[Vectors | None], count: int) -> list[Prediction]:
    """The likeliest labels of one picture, from the mean of its views' raw features, each (raw_dim,)."""
    mean: Vectors = np.stack([feature for feature in features if feature is not None]).mean(axis=0)
    return [Prediction(*one) for one in classifier.likeliest(mean, count)]


def _as_json(result: Result, familiar: bool | None) -> dict[str, Any]:
    if isinstance(result, VitrineError):
        return {"error": {"code": result.code, "detail": result.detail}}
    return {"vector": result.tolist(), "familiar": familiar}
