"""The pages of datasets: the list, and one dataset with its attributes, catalogue, indexings, schedules and deleted
products. Scripts send the changes to the JSON API.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.context import Context, Ctx
from search_api.datasets.routes import described, entry
from search_api.pages.templating import Pages, render
from vitrine.errors import BrokerUnavailable, VectorStoreUnavailable
from vitrine.products import AttributeKind
from vitrine.web import requires

router = APIRouter(include_in_schema=False)
_READ: Final = ["GET", "HEAD"]
_DELETED_SHOWN: Final = 200
_INTERVALS: Final = ("1h", "6h", "12h", "1d", "1w")
# What a kind means to somebody who filters.
_KINDS: Final = {
    AttributeKind.KEYWORD: ("Text", "one of its values"),
    AttributeKind.KEYWORDS: ("List", "any value of the list"),
    AttributeKind.INTEGER: ("Whole number", "a value or a range"),
    AttributeKind.DECIMAL: ("Number", "a value or a range"),
    AttributeKind.BOOLEAN: ("Yes or no", "true or false"),
    AttributeKind.DATE: ("Date", "a day or a range"),
    AttributeKind.PATH: ("Category path", "any level"),
    AttributeKind.TEXT: ("Free text", "shown only"),
}
_COUNTS: Final = ("added", "changed", "removed", "rejected", "would_remove")


@router.api_route("/datasets", methods=_READ)
@requires("jobs")
async def datasets_page(request: Request, context: Ctx) -> Response:
    away, found = None, []
    try:
        servings, collections, uploads = await asyncio.gather(
            context.store.servings(fresh=True),
            context.store.collections(fresh=True),
            asyncio.to_thread(context.upload_store.counts),
        )
        names = sorted({*uploads, *(info.metadata.dataset for info in collections)})
        found = [entry(name, servings, collections, uploads) for name in names]
    except VectorStoreUnavailable as error:
        away = error.detail
    return render(request, "datasets/page.html", datasets=found, away=away)


@router.api_route("/datasets/{dataset}", methods=_READ)
@requires("jobs")
async def dataset_page(request: Request, context: Ctx, dataset: str) -> Response:
    found = await described(context, dataset)
    deleted = sorted(await asyncio.to_thread(context.upload_store.tombstones, dataset))
    pages: Pages = request.app.state.pages
    place = quote(dataset, safe="")
    return render(
        request,
        "datasets/dataset.html",
        dataset=found,
        kinds=[(one, *_KINDS[AttributeKind(one["kind"])]) for one in found["attributes"]],
        api=pages.url(f"/api/datasets/{place}"),
        products=pages.url("/products/"),
        api_products=pages.url("/api/products/"),
        list_address=pages.url("/datasets"),
        deleted=[(product_id, quote(product_id, safe="")) for product_id in deleted[:_DELETED_SHOWN]],
        deleted_total=len(deleted),
        intervals=_INTERVALS,
        counts=_COUNTS,
        job=await _current_job(context, dataset),
    )


async def _current_job(context: Context, dataset: str) -> Any:
    """The job that indexes the dataset now; None if there is none or if jobs cannot be read."""
    try:
        running = await context.jobs.store.list(limit=200)
    except BrokerUnavailable:
        return None
    own = [one for one in running if one.params.get("dataset") == dataset and one.kind == "index"]
    return next((one for one in own if not one.state.finished), None)
