"""The routes of datasets: list them, list their deleted products, drop one."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.datasets.schemas import (
    DatasetAnswer,
    DatasetDroppedAnswer,
    DatasetsAnswer,
    DeletedProductsAnswer,
    ScheduleAnswer,
    ScheduleBody,
    ScheduleRemovedAnswer,
)
from search_api.models.service import collection_entry
from search_api.openapi import COMMON_ERRORS
from vitrine.errors import (
    BodyInvalid,
    BrokerUnavailable,
    Conflict,
    DatasetNotFound,
    MediaTypeUnsupported,
    ParameterInvalid,
    VectorStoreUnavailable,
)
from vitrine.jobs import JobKind, JobState
from vitrine.jobs.params.catalog import IndexParams
from vitrine.jobs.schedules import LastIndexing, Schedule, parse_every
from vitrine.products import AttributeKind, check_dataset_name, public_id
from vitrine.qdrant.naming import Serving, parse_collection_name
from vitrine.qdrant.schema import CollectionInfo
from vitrine.web import JsonRoute, problem_responses, requires

router = APIRouter(tags=["datasets"], route_class=JsonRoute)
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
    return JsonAnswer({"success": True, "datasets": [entry(name, servings, collections, uploads) for name in names]})


@router.get(
    "/api/datasets/{dataset}",
    summary="One dataset in detail",
    description="What serves it, its attributes and their kinds, its catalogue, its last indexings and its schedules.",
    response_model=DatasetAnswer,
    responses=problem_responses(*COMMON_ERRORS, DatasetNotFound, BrokerUnavailable, VectorStoreUnavailable),
)
@requires("jobs")
async def show_dataset(context: Ctx, dataset: DatasetName) -> Response:
    return JsonAnswer({"success": True, **await described(context, dataset)})


async def described(context: Context, dataset: str) -> dict[str, Any]:
    """The members of a `DatasetAnswer`. Raises DatasetNotFound, BrokerUnavailable, VectorStoreUnavailable."""
    check_dataset_name(dataset)
    servings, collections, uploads, schedules, indexings = await asyncio.gather(
        context.store.servings(fresh=True),
        context.store.collections(fresh=True),
        asyncio.to_thread(context.upload_store.counts),
        context.schedules.of_dataset(dataset),
        context.schedules.last_indexings(dataset),
    )
    own = [info for info in collections if info.metadata.dataset == dataset]
    if not own and dataset not in uploads and not schedules:
        raise DatasetNotFound(f"there is no dataset {dataset!r}: GET /api/datasets lists them")
    found = entry(dataset, servings, collections, uploads)
    serving = {one.collection for one in servings}
    last = max(own, key=lambda info: (info.name in serving, info.metadata.published_at or ""), default=None)
    return {
        **found,
        "products": max((model["products"] for model in found["models"]), default=0),
        "attributes": [] if last is None else _attributes(last),
        "catalogue": last
        and {
            "reader": last.metadata.catalog,
            "root": last.metadata.root,
            "mapping": dict(last.metadata.mapping),
        },
        "indexings": [_indexing(one) for one in indexings],
        "schedules": [one.answer() for one in schedules],
    }


def _attributes(info: CollectionInfo) -> list[dict[str, Any]]:
    return [
        {"name": name, "kind": kind.value, "filterable": kind is not AttributeKind.TEXT}
        for name, kind in sorted(info.kinds.items())
    ]


def _indexing(last: LastIndexing) -> dict[str, Any]:
    return {
        "job": last.job,
        "model": last.model,
        "state": last.state.value,
        "startedAt": last.started_at,
        "finishedAt": last.finished_at,
        "scheduled": last.scheduled,
        "counts": last.counts,
        "error": last.error and last.error.model_dump(),
    }


def entry(
    name: str, servings: list[Serving], collections: list[CollectionInfo], uploads: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """The dataset as a `DatasetOut`."""
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


@router.put(
    "/api/datasets/{dataset}/schedule",
    summary="Index a dataset again and again",
    description=(
        "The catalogue that the dataset was indexed from is indexed anew at each interval, with the release that "
        "serves then. What has not changed is not read again, and a run waits while another job indexes the dataset."
    ),
    response_model=ScheduleAnswer,
    responses=problem_responses(
        *COMMON_ERRORS, BodyInvalid, DatasetNotFound, MediaTypeUnsupported, BrokerUnavailable, VectorStoreUnavailable
    ),
)
@requires("ingest")
async def set_schedule(context: Ctx, dataset: DatasetName, body: ScheduleBody) -> Response:
    every_s = parse_every(body.every)
    serving = await _serving_of(context, dataset, body.model)
    metadata = (await context.store.collection(serving.collection, fresh=True)).metadata
    params = IndexParams(
        dataset=dataset,
        reader=metadata.catalog,
        root=metadata.root,
        mapping=dict(metadata.mapping) or None,
        model=serving.model,
        release_id=serving.release_id,
        allow_removal=body.allow_removal,
        full=body.full,
    )
    schedule = Schedule.of(params.as_record(), every_s=every_s)
    await context.schedules.save(schedule)
    return JsonAnswer({"success": True, "dataset": dataset, "schedule": schedule.answer()})


@router.delete(
    "/api/datasets/{dataset}/schedule",
    summary="Stop indexing a dataset again and again",
    response_model=ScheduleRemovedAnswer,
    responses=problem_responses(*COMMON_ERRORS, DatasetNotFound, BrokerUnavailable),
)
@requires("ingest")
async def remove_schedule(
    context: Ctx,
    dataset: DatasetName,
    model: Annotated[str | None, Query(max_length=120, description="The model, if there are several schedules")] = None,
) -> Response:
    schedules = await context.schedules.of_dataset(check_dataset_name(dataset))
    names = [one.model for one in schedules if model in (None, one.model)]
    if not names:
        raise DatasetNotFound(f"no schedule indexes the dataset {dataset!r}" + (f" with {model!r}" if model else ""))
    if len(names) > 1:
        raise ParameterInvalid(f"several schedules index {dataset!r}; name the model: {', '.join(names)}")
    await context.schedules.remove(dataset, names[0])
    return JsonAnswer({"success": True, "dataset": dataset, "model": names[0]})


async def _serving_of(context: Context, dataset: str, model: str | None) -> Serving:
    """The collection that serves the dataset with the model. Raises DatasetNotFound, ParameterInvalid."""
    check_dataset_name(dataset)
    found = [one for one in await context.products.servings(dataset) if model in (None, one.model)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(one.model for one in await context.products.servings(dataset))
    raise ParameterInvalid(f"name one of the models that serve {dataset!r} with 'model': {known}")


@router.delete(
    "/api/datasets/{dataset}",
    summary="Drop a dataset's collections",
    description=(
        "It stops serving first, then its collections and schedules go. Products put through the API and the record of "
        "deleted ones stay, for a later indexing, unless `uploads` is true. Refused while a job indexes or changes the "
        "dataset. The catalogue's own files are never touched."
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
    await context.schedules.forget(dataset)
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
