"""Single products: look at one, and find those like it."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer, product, search_answer
from search_api.context import Ctx
from search_api.options import MatchOptions, split_options
from search_api.retrieval import Wanted
from search_api.routes.documents import FILTER_PARAMETER, READ_ERRORS, SEARCH_ERRORS, query_parameters
from search_api.schemas import ProductAnswer, SearchAnswer
from vitrine.collections import Serving
from vitrine.errors import ProductNotFound
from vitrine.web import problem_responses, requires

router = APIRouter(tags=["products"])
ProductId = Annotated[str, Path(description="The product's id, unique in its dataset", examples=["7747"])]
Dataset = Annotated[
    str | None, Query(description="The dataset; may be left out where one is configured or only one is served")
]


@router.get(
    "/api/products/{product_id}",
    summary="Look at one product",
    response_model=ProductAnswer,
    responses=problem_responses(*READ_ERRORS, ProductNotFound),
)
@requires("search")
async def get_product(context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    stored = await context.products.get(await context.retrieval.dataset(dataset), product_id)
    return JsonAnswer({"success": True, "product": product(stored.payload)})


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

    async def in_serving(serving: Serving) -> Response:
        prepared = await context.retrieval.prepare(serving, filters, group_by=options.group_by)
        confidence = await context.confidences.of(serving.release_id, min_confidence=options.min_confidence)
        plan = await context.retrieval.plan(prepared)
        [point] = await context.products.point_ids(serving, [product_id])
        searching_started_s = time.perf_counter()
        least = confidence.min_score(options.min_score, options.min_confidence)
        wanted = Wanted(options.top_k, least, options.group_by)
        points = await context.retrieval.nearest(prepared, point, wanted, plan=plan)
        found_s = time.perf_counter()
        took_ms = {
            "decode": 0.0,
            "embed": 0.0,
            "search": (found_s - searching_started_s) * 1e3,
            "total": (found_s - started_s) * 1e3,
        }
        return JsonAnswer(search_answer(serving, points, plan=plan, took_ms=took_ms, confidence=confidence))

    return await context.retrieval.in_serving(options, in_serving)
