"""The embedder's calls: one picture, a batch, and what is there."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from embedder.call import Answer, Result, Space
from embedder.multipart import PART_NAME, boundary_of, pictures_of
from embedder.pipeline import Pipeline
from embedder.readiness import Readiness
from embedder.residency import Residency
from embedder.settings import Settings
from vitrine.embedding.wire import (
    DEADLINE_HEADER,
    FAMILIAR_HEADER,
    MAX_BATCH,
    MAX_DEADLINE_MS,
    REJECTED_HEADER,
    VECTOR_MEDIA_TYPE,
    encode_batch,
    server_timing,
)
from vitrine.errors import (
    BodyTooLarge,
    DeadlineExpired,
    Draining,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
    ImageMissing,
    ImageRejected,
    MediaTypeUnsupported,
    ParameterInvalid,
    ReleaseCorrupt,
    ReleaseError,
    ReleaseNotFound,
    VitrineError,
    WeightsUnusable,
)
from vitrine.releases import ReleaseStore
from vitrine.web import problem_responses, requires

router = APIRouter()

_FAILURES: Final = (
    ParameterInvalid,
    ImageMissing,
    ReleaseNotFound,
    BodyTooLarge,
    MediaTypeUnsupported,
    ReleaseError,
    WeightsUnusable,
    ReleaseCorrupt,
    EmbeddingFailed,
    EmbedderOverloaded,
    EmbedderUnavailable,
    Draining,
    DeadlineExpired,
)
_PICTURE_TYPES: Final = ("image/", VECTOR_MEDIA_TYPE)
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


@dataclass(frozen=True, slots=True)
class Context:
    """What the routes work with."""

    settings: Settings
    store: ReleaseStore
    residency: Residency
    pipeline: Pipeline
    readiness: Readiness


class EmbedResponse(BaseModel):
    """One picture's vector."""

    release: str
    dim: int
    vector: list[float] = Field(description="float32, length 1 where projected")
    familiar: bool | None = Field(
        default=None,
        description=f"Whether it shows something of the release's kind, where known; also as `{FAMILIAR_HEADER}`",
    )


class PictureError(BaseModel):
    """Why a picture has no vector."""

    code: str
    detail: str


class PictureResult(BaseModel):
    """A vector or an error."""

    vector: list[float] | None = None
    familiar: bool | None = Field(default=None, description="As of a single picture; float32 answers leave it out")
    error: PictureError | None = None


class BatchResponse(BaseModel):
    """One result for each picture, in the order of the parts."""

    release: str
    dim: int
    results: list[PictureResult]


class ReleaseInfo(BaseModel):
    """A release of the store."""

    release: str
    loaded: bool
    bytes: int | None = Field(default=None, description="Memory it takes, where it is loaded")


class ReleasesResponse(BaseModel):
    """Every release this embedder can load."""

    releases: list[ReleaseInfo]


def _context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context_of)]
ReleaseId = Annotated[str, Query(alias="release", min_length=1, max_length=140, description="The release's id")]
SpaceName = Annotated[Space, Query(description="The projected vector, or the network's raw feature")]
DeadlineMs = Annotated[
    int | None,
    Header(alias=DEADLINE_HEADER, ge=1, le=MAX_DEADLINE_MS, description="Milliseconds the caller still waits"),
]


@router.post(
    "/v1/embed",
    summary="Embed one picture",
    response_model=EmbedResponse,
    tags=["embed"],
    responses={
        200: {"content": {VECTOR_MEDIA_TYPE: _BINARY}, "description": "The vector; float32 little-endian on request"},
        **problem_responses(*_FAILURES),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"image/*": _BINARY, VECTOR_MEDIA_TYPE: _BINARY}}},
)
@requires("embed")
async def embed(
    request: Request, context: Ctx, release: ReleaseId, space: SpaceName = "projected", deadline_ms: DeadlineMs = None
) -> Response:
    """The body is the picture file: JPEG, PNG or WebP."""
    deadline_s = _deadline_s(context, deadline_ms)
    kind = request.headers.get("content-type", VECTOR_MEDIA_TYPE).lower()
    if not kind.startswith(_PICTURE_TYPES):
        raise MediaTypeUnsupported("send the picture itself as the body, with its media type, e.g. image/jpeg")
    data = await request.body()
    if not data:
        raise ImageMissing("the body is empty: send the picture itself as the body")
    answer, dim = await _embed(context, release, [data], space, deadline_s)
    result, familiar = answer.results[0], answer.familiar[0]
    if isinstance(result, VitrineError):
        raise result
    headers = {"Server-Timing": server_timing(answer.timings_ms)}
    if familiar is not None:
        headers[FAMILIAR_HEADER] = "yes" if familiar else "no"
    if _wants_bytes(request):
        return Response(result.astype("<f4").tobytes(), media_type=VECTOR_MEDIA_TYPE, headers=headers)
    told = {"release": release, "dim": dim, "vector": result.tolist(), "familiar": familiar}
    return JSONResponse(told, headers=headers)


@router.post(
    "/v1/embed/batch",
    summary="Embed up to 256 pictures",
    response_model=BatchResponse,
    tags=["embed"],
    responses={
        200: {
            "content": {VECTOR_MEDIA_TYPE: _BINARY},
            "description": (
                "One result a picture, in order. As float32 little-endian a rejected picture's row is NaN, and "
                f"`{REJECTED_HEADER}` lists `row:code`."
            ),
        },
        **problem_responses(*_FAILURES),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": [PART_NAME],
                        "properties": {
                            PART_NAME: {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": MAX_BATCH,
                                "items": {"type": "string", "format": "binary"},
                            }
                        },
                    }
                }
            },
        }
    },
)
@requires("embed")
async def embed_batch(
    request: Request, context: Ctx, release: ReleaseId, space: SpaceName = "projected", deadline_ms: DeadlineMs = None
) -> Response:
    """Each part named `image` is a picture file. A picture that cannot be used costs its own result only."""
    deadline_s = _deadline_s(context, deadline_ms)
    boundary = boundary_of(request.headers.get("content-type"))
    pictures = pictures_of(await request.body(), boundary)
    told, dim = await _embed(context, release, pictures, space, deadline_s)
    for result in told.results:
        # An error that is not the picture's own is the call's: nobody should take half an answer for a whole one.
        if isinstance(result, VitrineError) and not isinstance(result, ImageRejected | EmbeddingFailed):
            raise result
    headers = {"Server-Timing": server_timing(told.timings_ms)}
    if _wants_bytes(request):
        body, rejected = encode_batch(told.results, dim=dim)
        return Response(body, media_type=VECTOR_MEDIA_TYPE, headers={**headers, REJECTED_HEADER: rejected})
    results = [_as_json(*one) for one in zip(told.results, told.familiar, strict=True)]
    answer = {"release": release, "dim": dim, "results": results}
    return JSONResponse(answer, headers=headers)


@router.get("/v1/releases", summary="The releases of the store", response_model=ReleasesResponse, tags=["releases"])
@requires("embed")
async def releases(context: Ctx) -> ReleasesResponse:
    """Which releases can be asked for, and which of them are in memory."""
    sizes = {resident.release_id: resident.network.size_bytes for resident in context.residency.loaded()}
    ids = await asyncio.to_thread(context.store.ids)
    return ReleasesResponse(
        releases=[ReleaseInfo(release=one, loaded=one in sizes, bytes=sizes.get(one)) for one in ids]
    )


async def _embed(
    context: Context, release_id: str, pictures: list[bytes], space: Space, deadline_s: float
) -> tuple[Answer, int]:
    try:
        async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
            resident = await context.residency.acquire(release_id)
    except TimeoutError as error:
        raise DeadlineExpired("the deadline passed while the release was being loaded") from error
    try:
        answer = await context.pipeline.embed(resident, pictures, space=space, deadline_s=deadline_s)
    finally:
        context.residency.release(resident)
    dim = resident.network.dim if space == "projected" else resident.network.raw_dim
    return answer, dim


def _deadline_s(context: Context, deadline_ms: int | None) -> float:
    longest_s = context.settings.embed_timeout_s
    return time.monotonic() + (longest_s if deadline_ms is None else min(longest_s, deadline_ms / 1000))


def _wants_bytes(request: Request) -> bool:
    return VECTOR_MEDIA_TYPE in request.headers.get("accept", "")


def _as_json(result: Result, familiar: bool | None) -> dict[str, Any]:
    if isinstance(result, VitrineError):
        return {"error": {"code": result.code, "detail": result.detail}}
    return {"vector": result.tolist(), "familiar": familiar}
