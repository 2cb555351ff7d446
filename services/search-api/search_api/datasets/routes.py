"""The routes of datasets: list them, list their deleted products, drop one."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.datasets.schemas import DatasetDroppedAnswer, DatasetsAnswer, DeletedProductsAnswer
from search_api.models.service import collection_entry
from search_api.openapi import COMMON_ERRORS
from vitrine.errors import BrokerUnavailable, Conflict, DatasetNotFound, VectorStoreUnavailable
from vitrine.jobs import JobKind, JobState
from vitrine.products import check_dataset_name, public_id
from vitrine.qdrant.naming import Serving, parse_collection_name
from vitrine.qdrant.schema import CollectionInfo
from vitrine.web import problem_responses, requires

router = APIRouter(tags=["datasets"])
DatasetName = Annotated[str, Path(description="The dataset's name", max_length=200)]
# The kinds of job that change a dataset's collections.
_WRITING: frozenset[JobKind] = frozenset({JobKind.INDEX, JobKind.UPSERT, JobKind.DELETE})
_JOBS_LOOKED_AT = 1_000


@router.get(
    "/api/datasets",
    summary="The datasets that are indexed or have uploads",
    response_model=DatasetsAnswer,
    responses=problem_responses(*COMMON_ERRORS, VectorStoreUnavailable),
)
@requires("search")
async def list_datasets(context: Ctx) -> Response:
    servings, collections, uploads = await asyncio.gather(
        context.store.servings(fresh=True),
        context.store.collections(fresh=True),
        asyncio.to_thread(context.upload_store.counts),
    )
    names = sorted({*uploads, *(info.metadata.dataset for info in collections)})
    return JsonAnswer({"success": True, "datasets": [_dataset(name, servings, collections, uploads) for name in names]})


def _dataset(
    name: str, servings: list[Serving], collections: list[CollectionInfo], uploads: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    own = {info.name: info for info in collections if info.metadata.dataset == name}
    serving = [one for one in servings if one.collection in own]
    uploaded, deleted = uploads.get(name, (0, 0))
    return {
        "dataset": name,
        "models": [
            {
                "model": one.model,
                "release": one.release_id,
                "collection": one.collection,
                "products": own[one.collection].points,
                "publishedAt": own[one.collection].metadata.published_at,
            }
            for one in serving
        ],
        "collections": [
            collection_entry(info, serving=any(one.collection == info.name for one in serving)) for info in own.values()
        ],
        "uploaded": uploaded,
        "deleted": deleted,
    }


@router.get(
    "/api/datasets/{dataset}/deleted",
    summary="The products of a dataset that were deleted",
    description="An indexing leaves them out until they are restored (`POST /api/products/{id}/restore`).",
    response_model=DeletedProductsAnswer,
    responses=problem_responses(*COMMON_ERRORS),
)
@requires("ingest")
async def list_deleted(
    context: Ctx, dataset: DatasetName, limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000
) -> Response:
    deleted = sorted(await asyncio.to_thread(context.upload_store.tombstones, check_dataset_name(dataset)))
    listed = [public_id(product_id) for product_id in deleted[:limit]]
    return JsonAnswer({"success": True, "dataset": dataset, "total": len(deleted), "deleted": listed})


@router.delete(
    "/api/datasets/{dataset}",
    summary="Drop a dataset's collections",
    description=(
        "It stops serving first, then its collections go. Products put through the API and the record of deleted ones "
        "stay, for a later indexing, unless `uploads` is true. Refused while a job indexes or changes the dataset. The "
        "catalogue's own files are never touched."
    ),
    response_model=DatasetDroppedAnswer,
    responses=problem_responses(*COMMON_ERRORS, DatasetNotFound, Conflict, BrokerUnavailable, VectorStoreUnavailable),
)
@requires("admin")
async def drop_dataset(
    context: Ctx,
    dataset: DatasetName,
    uploads: Annotated[bool, Query(description="Remove the products put through the API too")] = False,
) -> Response:
    check_dataset_name(dataset)
    await _must_be_idle(context, dataset)
    collections = [
        info.name
        for info in await context.store.collections(fresh=True)
        if (parse_collection_name(info.name) or ("", ""))[0] == dataset
    ]
    known = await asyncio.to_thread(context.upload_store.counts)
    if not collections and not (uploads and dataset in known):
        kept = "; it has uploads only: `uploads=true` removes them" if dataset in known else ""
        raise DatasetNotFound(f"the dataset {dataset!r} is not indexed{kept}")
    await context.store.drop(collections)
    if uploads:
        await asyncio.to_thread(context.upload_store.drop, dataset)
    await context.announce_change(dataset)
    return JsonAnswer({"success": True, "dataset": dataset, "collections": collections, "uploads": uploads})


async def _must_be_idle(context: Context, dataset: str) -> None:
    """Raise Conflict if a job for the dataset is running or queued."""
    for state in (JobState.RUNNING, JobState.QUEUED):
        for record in await context.jobs.store.list(limit=_JOBS_LOOKED_AT, state=state):
            if record.kind in _WRITING and record.params.get("dataset") == dataset:
                raise Conflict(
                    f"the {record.kind.value} job {record.id} works on the dataset {dataset!r}: "
                    "wait for it to end or cancel it",
                    job=record.id,
                )
