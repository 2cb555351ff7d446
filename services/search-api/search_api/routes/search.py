"""Search by picture: the reference's `POST /api/search`, with filters and the rest beside it."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer, search_answer
from search_api.context import Context, Ctx
from search_api.forms import read_form
from search_api.fusion import fused_search, prepare_other
from search_api.looking import look_at, opaque_caller
from search_api.options import Pairs, SearchOptions, split_options
from search_api.refinement import Refinement
from search_api.retrieval import Wanted
from search_api.routes.documents import (
    FILTER_PARAMETER,
    PICTURE_ERRORS,
    SEARCH_ERRORS,
    filter_form,
    picture_schema,
    query_parameters,
)
from search_api.schemas import SearchAnswer
from vitrine.collections import Serving
from vitrine.errors import ImageRejected
from vitrine.web import problem_responses, requires

_PICTURE_FIELD: Final = "image"
router = APIRouter(tags=["search"])


@router.post(
    "/api/search",
    summary="Find the products that look most like a picture",
    description=(
        "A form with the picture as `image`. Options and filters may be form fields or query parameters. The vector is "
        "made by the release that serves the model and compared with that release's vectors alone."
    ),
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PICTURE_ERRORS),
    openapi_extra={
        "parameters": [*query_parameters(SearchOptions), FILTER_PARAMETER],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": filter_form(
                    {_PICTURE_FIELD: picture_schema("The picture to search with.")},
                    required=[_PICTURE_FIELD],
                    options=SearchOptions,
                )
            },
        },
    },
)
@requires("search")
async def search(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    form = await read_form(request)
    fields = form.fields(except_for=frozenset({_PICTURE_FIELD}))
    options, filters = split_options([*request.query_params.multi_items(), *fields], SearchOptions)
    picture = form.one_picture(_PICTURE_FIELD)
    if not picture:
        raise ImageRejected("empty", "the picture file is empty")

    caller = opaque_caller(request)

    async def in_serving(serving: Serving) -> Response:
        return await _search_in(
            context, serving, picture, options=options, filters=filters, caller=caller, started_s=started_s
        )

    return await context.retrieval.in_serving(options, in_serving)


async def _search_in(
    context: Context,
    serving: Serving,
    picture: bytes,
    *,
    options: SearchOptions,
    filters: Pairs,
    caller: str,
    started_s: float,
) -> Response:
    prepared = await context.retrieval.prepare(serving, filters, group_by=options.group_by)
    refined = bool(options.expand or options.rerank or options.fuse is not None)
    known = await context.confidences.of(serving.release_id, min_confidence=options.min_confidence, refined=refined)
    other = None if options.fuse is None else await prepare_other(context, prepared, options.fuse, filters)
    releases = (serving.release_id,) if other is None else (serving.release_id, other.serving.release_id)
    embedding_started_s = time.perf_counter()
    deadline_s = context.settings.request_timeout_s - (embedding_started_s - started_s)
    # The plan needs the filter alone, so it is made while the embedder works.
    looks, plan = await asyncio.gather(
        look_at(picture, context.embedder, releases, views=options.views, caller=caller, deadline_s=deadline_s),
        context.retrieval.plan(prepared),
    )
    looked = looks[0]
    searching_started_s = time.perf_counter()
    confidence = known.asked(looked.familiar)
    least = confidence.min_score(options.min_score, options.min_confidence)
    wanted = Wanted(options.top_k, least, options.group_by)
    if other is None:
        refine = Refinement(options.expand, options.expand_alpha, options.rerank)
        points = await context.retrieval.nearest(prepared, looked.vector, wanted, plan=plan, refine=refine)
    else:
        points = await fused_search(context, (prepared, other), looks, wanted, plan, weight=options.fuse_weight)
    found_s = time.perf_counter()
    took_ms = {
        "decode": looked.decode_ms,
        "embed": (searching_started_s - embedding_started_s) * 1e3 - looked.decode_ms,
        "search": (found_s - searching_started_s) * 1e3,
        "total": (found_s - started_s) * 1e3,
    }
    return JsonAnswer(search_answer(serving, points, plan=plan, took_ms=took_ms, confidence=confidence))
