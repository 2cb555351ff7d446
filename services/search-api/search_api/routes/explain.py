"""Why a product matches a picture: where each of the two was seen by the network."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.explanation import Covered, cover, data_address, drawn, heat_of
from search_api.forms import read_form
from search_api.options import Target, split_options
from search_api.routes.documents import PICTURE_ERRORS, SEARCH_ERRORS, filter_form, picture_schema
from search_api.schemas import ExplainAnswer
from vitrine.collections import Serving
from vitrine.errors import ImageRejected, ParameterInvalid, PictureNotFound, ProductNotFound
from vitrine.products import public_id
from vitrine.web import problem_responses, requires

_PICTURE_FIELD: Final = "image"
_ID_FIELD: Final = "id"
# So many at once keep an embedder's batches full and leave room in its queue for others.
_AT_ONCE: Final = 8
router = APIRouter(tags=["search"])


@router.post(
    "/api/explain",
    summary="Show where a picture and a product look alike",
    description=(
        "A form with the picture as `image` and a product's `id`. Parts of each are covered in turn, and where the "
        "likeness falls most, there it was seen: `heat` has the fall by row and column, and `picture` shows both, the "
        "query first, as a data address of a PNG. It takes about a hundred embeddings."
    ),
    response_model=ExplainAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PICTURE_ERRORS, ProductNotFound, PictureNotFound),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": filter_form(
                    {
                        _PICTURE_FIELD: picture_schema("The query."),
                        _ID_FIELD: {"type": "string", "description": "Id of the product"},
                    },
                    required=[_PICTURE_FIELD, _ID_FIELD],
                    options=Target,
                )
            },
        },
    },
)
@requires("search")
async def explain(request: Request, context: Ctx) -> Response:
    form = await read_form(request)
    pairs = [*request.query_params.multi_items(), *form.fields(except_for=frozenset({_PICTURE_FIELD}))]
    ids = [value for name, value in pairs if name == _ID_FIELD]
    if len(ids) != 1:
        raise ParameterInvalid(f"the form names {len(ids)} products: give one 'id'")
    options, rest = split_options([pair for pair in pairs if pair[0] != _ID_FIELD], Target)
    if rest:
        raise ParameterInvalid(f"{rest[0][0][:80]!r} means nothing here: an explanation has no filters")
    picture = form.one_picture(_PICTURE_FIELD)
    if not picture:
        raise ImageRejected("empty", "the picture file is empty")

    async def in_serving(serving: Serving) -> Response:
        return await _explain_in(context, serving, picture, ids[0])

    return await context.retrieval.in_serving(options, in_serving)


async def _explain_in(context: Context, serving: Serving, picture: bytes, product_id: str) -> Response:
    product = await context.pictures.get(serving.dataset, product_id)
    release_id = serving.release_id
    query_parts, product_parts = await asyncio.gather(
        asyncio.to_thread(cover, picture), asyncio.to_thread(cover, product.data)
    )
    gate = asyncio.Semaphore(_AT_ONCE)

    async def vector(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        async with gate:
            return (await context.embedder.embed(data, release_id=release_id)).vector

    async def covered(parts: Covered) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.stack(await asyncio.gather(*(vector(copy) for copy in parts.copies)))

    query, found = await asyncio.gather(vector(picture), vector(product.data))
    query_copies, found_copies = await asyncio.gather(covered(query_parts), covered(product_parts))
    score = float(query @ found)
    query_heat = heat_of(score, (query_copies @ found).astype(np.float64))
    found_heat = heat_of(score, (found_copies @ query).astype(np.float64))
    png = await asyncio.to_thread(
        drawn, [(query_parts.picture, query_heat), (product_parts.picture, found_heat)]
    )  # fmt: skip
    return JsonAnswer(
        {
            "success": True,
            "id": public_id(product_id),
            "dataset": serving.dataset,
            "model": serving.model,
            "release": release_id,
            "score": round(score, 6),
            "query": {"heat": np.round(query_heat, 6).tolist()},
            "product": {"heat": np.round(found_heat, 6).tolist()},
            "picture": data_address(png),
        }
    )
