"""The route that explains a match: a heatmap of the picture and of the product."""

from __future__ import annotations

import time
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.auth import opaque_caller
from search_api.context import Ctx
from search_api.explain.schemas import ExplainAnswer
from search_api.openapi import PARSER_ERRORS, SEARCH_ERRORS
from search_api.search.options import PartOptions, only_options
from search_api.search.query_embedding import Asked
from search_api.search.query_picture import picture_call, read_picture
from vitrine.errors import ParameterInvalid, PictureNotFound, ProductNotFound, UploadNotFound
from vitrine.web import problem_responses, requires

_ID_FIELD: Final = "id"
router = APIRouter(tags=["search"])


@router.post(
    "/api/explain",
    summary="Show where a picture and a product look alike",
    description=(
        "A form with the picture as `image`, or the id of a kept one as `upload`, and a product's `id`. Parts of each "
        "are covered in turn, and where the likeness falls most, there it was seen: `heat` has the fall by row and "
        "column, and `picture` shows both, the query first, as a data address of a PNG. With `region` the query "
        "is a part or a garment of the picture. It takes about a hundred embeddings."
    ),
    response_model=ExplainAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PARSER_ERRORS, ProductNotFound, PictureNotFound, UploadNotFound),
    openapi_extra=picture_call(
        "The query.", options=PartOptions, more={_ID_FIELD: {"type": "string", "description": "Id of the product"}}
    ),
)
@requires("search", work="query")
async def explain(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    picture, pairs = await read_picture(request, context.uploads)
    ids = [value for name, value in pairs if name == _ID_FIELD]
    if len(ids) != 1:
        raise ParameterInvalid(f"the form names {len(ids)} products: give one 'id'")
    options = only_options([pair for pair in pairs if pair[0] != _ID_FIELD], PartOptions)
    asked = Asked(opaque_caller(request.scope), started_s)
    return JsonAnswer(await context.explanations.explain(picture, ids[0], options, asked))
