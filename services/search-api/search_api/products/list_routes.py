"""The route that lists the products of a dataset: page by page as JSON, or all as NDJSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

import pydantic_core
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from search_api.answers import JsonAnswer, product
from search_api.auth import caller_of
from search_api.context import Context, Ctx
from search_api.openapi import FILTER_PARAMETER, SEARCH_ERRORS, query_parameters
from search_api.products.cursors import MAX_CURSOR_CHARS, cursor_of, place_of
from search_api.products.listing import Listing, Order
from search_api.products.schemas import ProductsAnswer
from search_api.search.options import Pairs, Target, split_options
from search_api.streams import StreamAnswer
from vitrine.errors import Draining, ParameterInvalid
from vitrine.qdrant.naming import Serving
from vitrine.web import asks_for, problem_responses, requires

router = APIRouter(tags=["products"])
NDJSON: Final = "application/x-ndjson"
MAX_LISTED: Final = 1_000


class ProductListOptions(Target):
    """The options of a list of products."""

    sort: str | None = Field(
        default=None,
        max_length=80,
        description=(
            "`newest` or `oldest` by when Vitrine first stored the product, or a field of numbers or dates, `-` before "
            "it for the largest first; products without a value come last. Products of one value, and all of them "
            "without `sort`, are ordered by a hash of their id, which stays the same"
        ),
        examples=["-year"],
    )
    limit: int = Field(default=50, ge=1, le=MAX_LISTED, description="Products of one answer")
    cursor: str | None = Field(
        default=None,
        max_length=MAX_CURSOR_CHARS,
        description="`next` of the answer before, with the same filters and sort",
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of products. `total` is the number on all pages."""

    dataset: str
    payloads: list[dict[str, Any]]
    next_cursor: str | None
    total: int

    def answer(self) -> dict[str, Any]:
        return {
            "success": True,
            "dataset": self.dataset,
            "total": self.total,
            "products": [product(payload) for payload in self.payloads],
            "next": self.next_cursor,
        }


@router.get(
    "/api/products",
    summary="List products",
    description=(
        "All products that the filters let through, page by page: `next` is the `cursor` of the page after, null at "
        "the end. A product that is there all the while comes exactly once, whatever is written meanwhile, unless the "
        "value that it is ordered by changes.\n\n"
        f"With `Accept: {NDJSON}` all of them come as one stream, a product a line. It takes neither `limit` nor "
        "`cursor` and as long as it takes. A stream that cannot be finished ends with a broken connection, never as "
        "though it were whole."
    ),
    response_model=ProductsAnswer,
    responses={
        200: {"content": {NDJSON: {"schema": {"type": "string", "description": "A product a line"}}}},
        **problem_responses(*SEARCH_ERRORS, Draining),
    },
    openapi_extra={"parameters": [*query_parameters(ProductListOptions), FILTER_PARAMETER]},
)
@requires("search", streams=NDJSON)
async def list_products(request: Request, context: Ctx) -> Response:
    options, filters = split_options(request.query_params.multi_items(), ProductListOptions)
    if asks_for(request.scope, NDJSON):
        return await _export(request, context, options, filters)
    return JsonAnswer((await listed(context, options, filters)).answer(), headers={"Vary": "Accept"})


async def listed(context: Context, options: ProductListOptions, filters: Pairs) -> Listed:
    """A page of products. Raises FilterInvalid, ParameterInvalid, DatasetNotFound, ModelUnknown."""

    async def page(serving: Serving) -> Listed:
        listing = await _listing(context, serving, options, filters)
        place = place_of(options.cursor, listing) if options.cursor is not None else listing.beginning
        (payloads, following), total = await asyncio.gather(
            listing.page(place, options.limit),
            context.store.count(serving.collection, listing.spec.compile()),
        )
        next_cursor = cursor_of(following, listing) if following is not None else None
        return Listed(serving.dataset, payloads, next_cursor, total)

    return await context.retrieval.in_serving(await _target(context, options), page)


async def _export(request: Request, context: Context, options: ProductListOptions, filters: Pairs) -> Response:
    if options.model_fields_set & {"limit", "cursor"}:
        raise ParameterInvalid(f"'limit' and 'cursor' are for pages: with 'Accept: {NDJSON}' all products come")
    draining = context.lifecycle.draining
    if draining.is_set():
        raise Draining("the search API is stopping", retry_after_s=1.0)
    place = context.export_places.take(caller_of(request.scope))

    async def opened(serving: Serving) -> AsyncGenerator[bytes, None]:
        pages = (await _listing(context, serving, options, filters)).pages()
        first = await anext(pages)  # errors are answered before the stream begins

        async def lines() -> AsyncGenerator[bytes, None]:
            yield _lines(first)
            async for payloads in pages:
                if draining.is_set():
                    raise Draining("the search API is stopping", retry_after_s=1.0)
                yield _lines(payloads)

        return lines()

    chunks = await context.retrieval.in_serving(await _target(context, options), opened)
    return StreamAnswer(chunks, place, media_type=NDJSON)


async def _target(context: Context, options: ProductListOptions) -> ProductListOptions:
    """The options with a model. All models of a dataset have the same products, so the default is any of them."""
    if options.model is not None:
        return options
    dataset = await context.retrieval.dataset(options.dataset)
    serving = (await context.products.servings(dataset))[0]
    return options.model_copy(update={"dataset": dataset, "model": serving.model})


async def _listing(context: Context, serving: Serving, options: ProductListOptions, filters: Pairs) -> Listing:
    prepared = await context.retrieval.prepare(serving, filters)
    order = Order.of(options.sort, prepared.info)
    return Listing(context.store, serving.dataset, serving.collection, prepared.spec, order)


def _lines(payloads: list[dict[str, Any]]) -> bytes:
    return b"".join(pydantic_core.to_json(product(payload)) + b"\n" for payload in payloads)
