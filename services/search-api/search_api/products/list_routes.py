"""The routes that list products: those of a dataset, page by page as JSON or all as NDJSON, and the variants of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import pydantic_core
from fastapi import APIRouter, Request
from pydantic import Field
from qdrant_client import models
from starlette.responses import Response

from search_api.answers import JsonAnswer, product
from search_api.auth import caller_of
from search_api.context import Context, Ctx
from search_api.openapi import FILTER_PARAMETER, SEARCH_ERRORS, query_parameters
from search_api.products.cursors import MAX_CURSOR_CHARS, cursor_of, place_of
from search_api.products.listing import Listing, Order
from search_api.products.schemas import ProductId, ProductsAnswer, VariantsAnswer
from search_api.search.facets import narrowed
from search_api.search.options import Pairs, Target, split_options
from search_api.search.variants import any_of, count_more
from search_api.streams import StreamAnswer
from vitrine.errors import Draining, ParameterInvalid, ProductNotFound
from vitrine.products import check_product_id, group_of, point_id, public_id
from vitrine.qdrant.naming import Serving
from vitrine.web import asks_for, problem_responses, requires

router = APIRouter(tags=["products"])
NDJSON: Final = "application/x-ndjson"
MAX_LISTED: Final = 1_000
TargetT = TypeVar("TargetT", bound=Target)


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


class VariantOptions(Target):
    """The options of a list of variants."""

    limit: int = Field(default=100, ge=1, le=MAX_LISTED, description="How many variants")


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of products. `total` is the number on all pages; `variants` how many more variants match, by shared id."""

    dataset: str
    payloads: list[dict[str, Any]]
    next_cursor: str | None
    total: int
    variants: dict[str, int] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        return {
            "success": True,
            "dataset": self.dataset,
            "total": self.total,
            "products": [product(payload, self.variants_of(payload)) for payload in self.payloads],
            "next": self.next_cursor,
        }

    def variants_of(self, payload: dict[str, Any]) -> int:
        """How many more variants the product has."""
        return self.variants.get(group_of(payload), 0)


@router.get(
    "/api/products",
    summary="List products",
    description=(
        "All products that the filters let through, page by page: `next` is the `cursor` of the page after, null at "
        "the end. Each variant of a product is listed and counted. A product that is there all the while comes exactly "
        "once, whatever is written meanwhile, unless the "
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
        info = await context.store.collection(serving.collection)
        groups = [group_of(payload) for payload in payloads]
        variants = await count_more(context.store, info, listing.spec.compile(), groups)
        return Listed(serving.dataset, payloads, next_cursor, total, variants)

    return await context.retrieval.in_serving(await _target(context, options), page)


@router.get(
    "/api/products/{product_id:path}/variants",
    summary="List the other variants of a product",
    description=(
        "The products that share its `variantOf`, such as other colours or sizes, without the product itself. A "
        "product without variants has none, and so has a dataset that was last indexed before its first variants came."
    ),
    response_model=VariantsAnswer,
    responses=problem_responses(*SEARCH_ERRORS, ProductNotFound),
    openapi_extra={"parameters": [*query_parameters(VariantOptions), FILTER_PARAMETER]},
)
@requires("search")
async def list_variants(request: Request, context: Ctx, product_id: ProductId) -> Response:
    options, filters = split_options(request.query_params.multi_items(), VariantOptions)
    found = await variants_of(context, product_id, options, filters)
    return JsonAnswer(
        {
            "success": True,
            "dataset": found.dataset,
            "total": found.total,
            "products": [product(payload) for payload in found.payloads],
        }
    )


async def variants_of(context: Context, product_id: str, options: VariantOptions, filters: Pairs) -> Listed:
    """The other variants of a product. Raises ProductNotFound, FilterInvalid, DatasetNotFound, ModelUnknown."""

    async def found(serving: Serving) -> Listed:
        prepared = await context.retrieval.prepare(serving, filters)
        point = point_id(serving.dataset, check_product_id(product_id))
        payload = (await context.store.retrieve(serving.collection, [point])).get(point)
        if payload is None:
            raise ProductNotFound(f"there is no product {product_id!r} in the dataset {serving.dataset!r}")
        if not prepared.info.variants:
            return Listed(serving.dataset, [], None, 0)
        others = models.Filter(must_not=[models.HasIdCondition(has_id=[point])])
        condition = narrowed(prepared.spec.compile(), any_of([group_of(payload)]), others)
        (records, _), total = await asyncio.gather(
            context.store.scroll(serving.collection, condition=condition, limit=MAX_LISTED),
            context.store.count(serving.collection, condition),
        )
        payloads = sorted((record.payload or {} for record in records), key=_by_id)[: options.limit]
        return Listed(serving.dataset, payloads, None, total)

    return await context.retrieval.in_serving(await _target(context, options), found)


def _by_id(payload: dict[str, Any]) -> tuple[bool, int | str]:
    name = public_id(str(payload["product_id"]))
    return isinstance(name, str), name


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


async def _target(context: Context, options: TargetT) -> TargetT:
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
