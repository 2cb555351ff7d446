"""Counts of values, for the filters that a page offers."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Ctx
from search_api.options import Target, split_options
from search_api.retrieval import check_field
from search_api.routes.documents import FILTER_PARAMETER, SEARCH_ERRORS, query_parameters
from search_api.schemas import FacetsAnswer
from vitrine.collections import Serving
from vitrine.errors import ParameterInvalid
from vitrine.web import problem_responses, requires

MAX_FIELDS: Final = 16
router = APIRouter(tags=["search"])


class FacetOptions(Target):
    """How many values of a field to tell."""

    limit: int = Field(default=50, ge=1, le=1000, description="Values told of each field, the commonest first")


_FIELD_PARAMETER: Final = {
    "name": "field",
    "in": "query",
    "required": True,
    "description": "The field to count; repeat for several",
    "style": "form",
    "explode": True,
    "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_FIELDS},
    "example": ["gender"],
}


@router.get(
    "/api/facets",
    summary="Count the products of each value of a field",
    description="Counts are exact, among the products that all the filters let through.",
    response_model=FacetsAnswer,
    responses=problem_responses(*SEARCH_ERRORS),
    openapi_extra={"parameters": [*query_parameters(FacetOptions), _FIELD_PARAMETER, FILTER_PARAMETER]},
)
@requires("search")
async def facets(request: Request, context: Ctx) -> Response:
    pairs = request.query_params.multi_items()
    fields = list(dict.fromkeys(value for name, value in pairs if name == "field"))
    if not 0 < len(fields) <= MAX_FIELDS:
        raise ParameterInvalid(f"name 1 to {MAX_FIELDS} fields with 'field'")
    options, filters = split_options([pair for pair in pairs if pair[0] != "field"], FacetOptions)

    async def in_serving(serving: Serving) -> Response:
        prepared = await context.retrieval.prepare(serving, filters)
        for field in fields:
            check_field(field, prepared.info, what="field")
        condition = prepared.spec.compile()
        counted = await asyncio.gather(
            *(
                context.store.facet(prepared.info.name, field, condition=condition, limit=options.limit)
                for field in fields
            )
        )
        return JsonAnswer(
            {
                "success": True,
                "dataset": serving.dataset,
                "model": serving.model,
                "release": serving.release_id,
                "facets": {
                    field: [{"value": item.value, "count": item.count} for item in counts]
                    for field, counts in zip(fields, counted, strict=True)
                },
            }
        )

    return await context.retrieval.in_serving(options, in_serving)
