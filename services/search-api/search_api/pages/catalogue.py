"""The pages of the catalogue: browse, filter and sort products, add one, restore deleted ones. Scripts send the changes
to the JSON API, so that a refused form keeps what was typed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.pages import catalogue_view as view
from search_api.pages.catalogue_state import CatalogueState
from search_api.pages.search_view import chips, facets
from search_api.pages.templating import Pages, is_fragment_request, render
from search_api.products.list_routes import Listed, ProductListOptions, listed
from vitrine.errors import DatasetNotFound, ProductNotFound, VitrineError
from vitrine.products import ADDED_AT_FIELD, check_product_id
from vitrine.web import requires

router = APIRouter(include_in_schema=False)
_READ: Final = ["GET", "HEAD"]
_DELETED_SHOWN: Final = 500


@router.api_route("/catalogue", methods=_READ)
@requires("search")
async def catalogue_page(request: Request, context: Ctx) -> Response:
    state = CatalogueState.of(request.query_params.multi_items())
    values: dict[str, Any] = {"state": state, "home": home_of(request), "catalogue": catalogue_of(request)}
    try:
        values |= await _browsed(request, context, state)
    except DatasetNotFound:
        if state.dataset is not None:
            raise
        return render(request, "catalogue/unindexed.html", **values)
    except VitrineError as error:
        if error.status >= 500 or is_fragment_request(request):
            raise
        # The link has an outdated filter or order: the page shows the error and links to the catalogue without it.
        values |= {"trouble": error.problem(), "dataset": state.dataset, "datasets": ()}
        return render(request, "catalogue/page.html", status=error.status, **values)
    return render(request, "catalogue/_view.html" if is_fragment_request(request) else "catalogue/page.html", **values)


@router.get("/catalogue/more")
@requires("search")
async def more_products(request: Request, context: Ctx) -> Response:
    """The next items of the grid."""
    pairs = request.query_params.multi_items()
    state = CatalogueState.of(pairs)
    cursor = next((value for name, value in pairs if name == "cursor"), None)
    serving = await view.serving_of(context, state.dataset)
    page = await _page_of(context, state.having(dataset=serving.dataset), cursor)
    return render(request, "catalogue/_items.html", **_items(request, state, page))


@router.api_route("/catalogue/new", methods=_READ)
@requires("ingest")
async def new_product_page(request: Request, context: Ctx) -> Response:
    state = CatalogueState.of(request.query_params.multi_items())
    serving = await view.serving_of(context, state.dataset)
    prepared = await context.retrieval.prepare(serving, [])
    return render(
        request,
        "catalogue/new.html",
        dataset=serving.dataset,
        home=home_of(request),
        catalogue=catalogue_of(request),
        state=state.having(dataset=serving.dataset),
        fields=await view.form_fields(context, prepared, {}),
        max_bytes=context.settings.max_body_bytes,
    )


@router.get("/catalogue/taken")
@requires("ingest")
async def is_taken(context: Ctx, dataset: str, id: str) -> Response:
    """Whether the id is in use, and whether a product with it was deleted."""
    try:
        await context.products.get(dataset, check_product_id(id))
    except ProductNotFound:
        return JsonAnswer({"taken": False})
    return JsonAnswer({"taken": True})


@router.api_route("/catalogue/deleted", methods=_READ)
@requires("ingest")
async def deleted_page(request: Request, context: Ctx) -> Response:
    state = CatalogueState.of(request.query_params.multi_items())
    serving = await view.serving_of(context, state.dataset)
    deleted = sorted(await asyncio.to_thread(context.upload_store.tombstones, serving.dataset))
    return render(
        request,
        "catalogue/deleted.html",
        dataset=serving.dataset,
        datasets=await view.datasets_of(context),
        home=home_of(request),
        catalogue=catalogue_of(request),
        total=len(deleted),
        deleted=deleted[:_DELETED_SHOWN],
    )


def home_of(request: Request) -> str:
    pages: Pages = request.app.state.pages
    return pages.url("/")


def catalogue_of(request: Request) -> str:
    pages: Pages = request.app.state.pages
    return pages.url("/catalogue")


async def _browsed(request: Request, context: Context, state: CatalogueState) -> dict[str, Any]:
    serving = await view.serving_of(context, state.dataset)
    state = state.having(dataset=serving.dataset)
    prepared = await context.retrieval.prepare(serving, list(state.filters))
    schema = prepared.info.schema
    sort = state.sort or ("newest" if ADDED_AT_FIELD in schema else None)
    page, counts, datasets, deleted = await asyncio.gather(
        _page_of(context, state.having(sort=sort), None),
        view.counted(context, prepared),
        view.datasets_of(context),
        asyncio.to_thread(lambda: context.upload_store.counts().get(serving.dataset, (0, 0))[1]),
    )
    return {
        "state": state,
        "trouble": None,
        "dataset": serving.dataset,
        "datasets": datasets,
        "deleted": deleted,
        "facets": facets(state, counts, prepared.info.kinds),
        "chips": chips(state, catalogue_of(request)),
        "sorts": view.sorts(prepared.info),
        "sort": sort or "",
        **_items(request, state.having(sort=sort), page),
    }


async def _page_of(context: Context, state: CatalogueState, cursor: str | None) -> Listed:
    options = ProductListOptions(dataset=state.dataset, sort=state.sort, limit=view.PAGE_SIZE, cursor=cursor)
    return await listed(context, options, list(state.filters))


def _items(request: Request, state: CatalogueState, page: Listed) -> dict[str, Any]:
    following = None
    if page.next_cursor is not None:
        following = f"{catalogue_of(request)}/more{state.query(('cursor', page.next_cursor))}"
    return {
        "items": [
            view.shown(payload, state, home_of(request), variants=page.variants_of(payload))
            for payload in page.payloads
        ],
        "total": page.total,
        "following": following,
    }
