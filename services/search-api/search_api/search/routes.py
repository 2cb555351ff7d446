"""The calls that find products: by picture, by a product, by examples; and the counts of values for filters."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.auth import opaque_caller
from search_api.context import Ctx
from search_api.openapi import (
    FILTER_PARAMETER,
    PICTURE_ERRORS,
    SEARCH_ERRORS,
    filter_form,
    picture_schema,
    query_parameters,
)
from search_api.products.routes import ProductId
from search_api.search.options import (
    MAX_EXAMPLE_PICTURES,
    MAX_EXAMPLES,
    MAX_FACET_FIELDS,
    PICTURE_FIELD,
    FacetOptions,
    ListOptions,
    MatchOptions,
    RecommendBody,
    SearchOptions,
    read_examples,
    read_facets,
    read_search,
    split_options,
)
from search_api.search.schemas import FacetsAnswer, SearchAnswer
from search_api.search.service import Asked
from vitrine.errors import BodyInvalid, ProductNotFound
from vitrine.web import problem_responses, requires

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
                    {PICTURE_FIELD: picture_schema("The picture to search with.")},
                    required=[PICTURE_FIELD],
                    options=SearchOptions,
                )
            },
        },
    },
)
@requires("search", work="query")
async def search(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    picture, options, filters = await read_search(request)
    asked = Asked(opaque_caller(request.scope), started_s)
    return JsonAnswer(await context.search.by_picture(picture, options, filters, asked))


@router.get(
    "/api/products/{product_id}/similar",
    summary="Find the products that look most like one of the catalogue",
    description="The product itself is left out of the answer.",
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, ProductNotFound),
    openapi_extra={"parameters": [*query_parameters(MatchOptions), FILTER_PARAMETER]},
)
@requires("search")
async def similar(request: Request, context: Ctx, product_id: ProductId) -> Response:
    started_s = time.perf_counter()
    options, filters = split_options(request.query_params.multi_items(), MatchOptions)
    return JsonAnswer(await context.search.similar(product_id, options, filters, started_s=started_s))


def _examples_form() -> dict[str, Any]:
    def several(item: dict[str, Any], most: int) -> dict[str, Any]:
        return {"type": "array", "items": item, "maxItems": most}

    return filter_form(
        {
            "positive": several({"type": "string", "description": "Id of a liked product"}, MAX_EXAMPLES),
            "negative": several({"type": "string", "description": "Id of a disliked product"}, MAX_EXAMPLES),
            "positiveImage": several(picture_schema("A liked picture."), MAX_EXAMPLE_PICTURES),
            "negativeImage": several(picture_schema("A disliked picture."), MAX_EXAMPLE_PICTURES),
        },
        required=[],
        options=ListOptions,
    )


@router.post(
    "/api/recommend",
    summary="Find products like some examples and unlike others",
    description=(
        "Examples are ids of the catalogue (JSON or form) and pictures (form only); at least one must be liked. The "
        "query is the mean of the liked, moved away from the mean of the disliked. The examples are left out."
    ),
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PICTURE_ERRORS, BodyInvalid, ProductNotFound),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": RecommendBody.model_json_schema(
                        by_alias=True, ref_template="#/components/schemas/{model}"
                    )
                },
                "multipart/form-data": _examples_form(),
            },
        },
    },
)
@requires("search", work="query")
async def recommend(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    examples = await read_examples(request)
    return JsonAnswer(await context.search.recommend(examples, Asked(opaque_caller(request.scope), started_s)))


_FIELD_PARAMETER: Final = {
    "name": "field",
    "in": "query",
    "required": True,
    "description": "The field to count; repeat for several",
    "style": "form",
    "explode": True,
    "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_FACET_FIELDS},
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
    return JsonAnswer(await context.search.facets(*read_facets(request)))
