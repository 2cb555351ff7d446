"""Shared by the routes: their dependencies, the parameters, headers and bodies that they take, and their errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request

from embedder.call import Caller, Priority, Space
from embedder.garments import GarmentFinder
from embedder.model_cache import LoadedRelease, ModelCache
from embedder.pipeline import Pipeline
from embedder.readiness import Readiness
from embedder.settings import Settings
from vitrine.embedding.wire import (
    CALLER_HEADER,
    DEADLINE_HEADER,
    MAX_CALLER_CHARS,
    MAX_DEADLINE_MS,
    VECTOR_MEDIA_TYPE,
    WORK_HEADER,
)
from vitrine.errors import (
    BodyTooLarge,
    DeadlineExpired,
    Draining,
    EmbedderBusyWithHeavyWork,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
    ImageMissing,
    MediaTypeUnsupported,
    ParameterInvalid,
    ReleaseCorrupt,
    ReleaseError,
    ReleaseNotFound,
    ReleaseOfOtherKind,
    WeightsUnusable,
    WorkTooLarge,
)
from vitrine.releases import ReleaseStore

# Errors that every call with a picture may answer.
FAILURES: Final = (
    ParameterInvalid,
    ImageMissing,
    ReleaseNotFound,
    BodyTooLarge,
    WorkTooLarge,
    MediaTypeUnsupported,
    ReleaseError,
    WeightsUnusable,
    ReleaseCorrupt,
    ReleaseOfOtherKind,
    EmbeddingFailed,
    EmbedderOverloaded,
    EmbedderBusyWithHeavyWork,
    EmbedderUnavailable,
    Draining,
    DeadlineExpired,
)
PART_NAME: Final = "image"
_PICTURE_TYPES: Final = ("image/", VECTOR_MEDIA_TYPE)
BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
PICTURE_BODY: Final = {"requestBody": {"required": True, "content": {"image/*": BINARY, VECTOR_MEDIA_TYPE: BINARY}}}


@dataclass(frozen=True, slots=True)
class Context:
    settings: Settings
    store: ReleaseStore
    models: ModelCache
    pipeline: Pipeline
    readiness: Readiness

    @asynccontextmanager
    async def garment_finder(
        self, parser_id: str, *, deadline_s: float, caller: Caller
    ) -> AsyncIterator[GarmentFinder]:
        """Load a parser, and keep it in memory inside the block. Raises as `loaded` does."""
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                    parser = await self.models.acquire_parser(parser_id)
                    held.callback(self.models.release, parser)
            except TimeoutError as error:
                raise DeadlineExpired("the deadline passed while the parser was being loaded") from error
            yield GarmentFinder(
                self.pipeline, parser, limits=self.settings.image_limits, deadline_s=deadline_s, caller=caller
            )

    @asynccontextmanager
    async def loaded(self, release_ids: Sequence[str], *, deadline_s: float) -> AsyncIterator[list[LoadedRelease]]:
        """Load the releases, and keep them in memory inside the block. Raises DeadlineExpired and loading errors."""
        async with AsyncExitStack() as held:
            found: list[LoadedRelease] = []
            try:
                async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                    for release_id in release_ids:
                        release = await self.models.acquire(release_id)
                        held.callback(self.models.release, release)
                        found.append(release)
            except TimeoutError as error:
                raise DeadlineExpired("the deadline passed while the release was being loaded") from error
            yield found


def _context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _caller_of(
    caller: Annotated[
        str,
        Header(
            alias=CALLER_HEADER,
            max_length=MAX_CALLER_CHARS,
            description="An opaque name of the caller; the queues are fair among these names",
        ),
    ] = "",
    priority: Annotated[
        Priority,
        Header(alias=WORK_HEADER, description="`batch` if no user waits for the answer: interactive calls go first"),
    ] = "interactive",
) -> Caller:
    return Caller(caller, priority)


def _deadline_of(
    request: Request,
    deadline_ms: Annotated[
        int | None,
        Header(alias=DEADLINE_HEADER, ge=1, le=MAX_DEADLINE_MS, description="Milliseconds the caller still waits"),
    ] = None,
) -> float:
    """The time at which the caller stops waiting, on the monotonic clock."""
    longest_s = _context_of(request).settings.embed_timeout_s
    return time.monotonic() + (longest_s if deadline_ms is None else min(longest_s, deadline_ms / 1000))


Ctx = Annotated[Context, Depends(_context_of)]
CallerOf = Annotated[Caller, Depends(_caller_of)]
DeadlineS = Annotated[float, Depends(_deadline_of)]
ReleaseId = Annotated[str, Query(alias="release", min_length=1, max_length=140, description="The release's id")]
ParserId = Annotated[str, Query(alias="parser", min_length=1, max_length=140, description="The parser's id")]
RegionText = Annotated[
    str,
    Query(
        alias="region",
        max_length=120,
        description=(
            "The part of the picture to look at, `x,y,width,height` in fractions of the upright picture; views are of "
            "this part. Empty: the whole picture"
        ),
    ),
]
SpaceName = Annotated[Space, Query(description="The projected vector, or the network's raw feature")]


def wants_bytes(request: Request) -> bool:
    return VECTOR_MEDIA_TYPE in request.headers.get("accept", "")


async def picture_of(request: Request) -> bytes:
    """The body, a picture file. Raises MediaTypeUnsupported, ImageMissing."""
    kind = request.headers.get("content-type", VECTOR_MEDIA_TYPE).lower()
    if not kind.startswith(_PICTURE_TYPES):
        raise MediaTypeUnsupported("send the picture itself as the body, with its media type, e.g. image/jpeg")
    data = await request.body()
    if not data:
        raise ImageMissing("the body is empty: send the picture itself as the body")
    return data


def form_of_pictures(least: int, most: int) -> dict[str, Any]:
    """The OpenAPI description of a form with `least` to `most` picture files."""
    files = {"type": "array", "minItems": least, "maxItems": most, "items": BINARY["schema"]}
    form = {"type": "object", "required": [PART_NAME], "properties": {PART_NAME: files}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
