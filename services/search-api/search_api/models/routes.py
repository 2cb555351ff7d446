"""Models, their releases, and the switch from one release to another."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.models.schemas import ActivatedAnswer, ModelsAnswer, ReleasesAnswer
from search_api.openapi import COMMON_ERRORS, READ_ERRORS
from search_api.products.parameters import Dataset
from search_api.vector_store import CollectionInfo
from vitrine.collections import Serving, generation_of, model_of_release, parse_collection_name
from vitrine.errors import (
    BodyInvalid,
    CollectionIncomplete,
    CollectionNotFound,
    MediaTypeUnsupported,
    ParameterInvalid,
    ReleaseCorrupt,
    ReleaseNotFound,
    VectorStoreUnavailable,
)
from vitrine.products import check_dataset_name
from vitrine.reserved import HIDDEN_FIELDS
from vitrine.web import JsonRoute, problem_responses, requires

router = APIRouter(tags=["models"], route_class=JsonRoute)
ReleaseId = Annotated[str, Path(description="The release's id", examples=["mobilenetv2_100-0123456789"])]


class Activation(BaseModel):
    """Nothing yet: the body may be empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@router.get(
    "/api/models",
    summary="The models that can be searched with",
    response_model=ModelsAnswer,
    responses=problem_responses(*COMMON_ERRORS, VectorStoreUnavailable),
)
@requires("search")
async def list_models(context: Ctx, dataset: Dataset = None) -> Response:
    chosen = dataset if dataset is not None else context.settings.default_dataset
    if chosen is not None:
        check_dataset_name(chosen)
    # Read anew: who has just seen an indexing end asks for what it made.
    servings = [one for one in await context.store.servings(fresh=True) if chosen in (None, one.dataset)]
    described = await asyncio.gather(*(_detail(context, serving) for serving in servings))
    details = [detail for detail in described if detail is not None]
    models = sorted({detail["model"] for detail in details})
    return JsonAnswer({"success": True, "models": models, "details": details})


async def _detail(context: Context, serving: Serving) -> dict[str, Any] | None:
    try:
        info = await context.store.collection(serving.collection, fresh=True)
    except CollectionNotFound:  # removed since the aliases were read
        return None
    return {
        "dataset": serving.dataset,
        "model": serving.model,
        "release": serving.release_id,
        "collection": serving.collection,
        "dim": info.dim,
        "products": info.points,
        "fields": {name: kind for name, kind in sorted(info.schema.items()) if name not in HIDDEN_FIELDS},
        "catalog": info.metadata.catalog,
        "publishedAt": info.metadata.published_at,
    }


@router.get(
    "/api/releases",
    summary="Every release that is stored or indexed",
    response_model=ReleasesAnswer,
    responses=problem_responses(*COMMON_ERRORS, VectorStoreUnavailable),
)
@requires("search")
async def list_releases(context: Ctx) -> Response:
    stored, servings, collections = await asyncio.gather(
        asyncio.to_thread(_stored_dims, context),
        context.store.servings(fresh=True),
        context.store.collections(),
    )
    serving = {item.collection for item in servings}
    indexed: dict[str, list[CollectionInfo]] = {}
    for info in collections:
        parsed = parse_collection_name(info.name)
        if parsed is not None:
            indexed.setdefault(parsed[1], []).append(info)
    releases = [
        {
            "id": release_id,
            "model": model_of_release(release_id),
            "dim": stored.get(release_id),
            "stored": release_id in stored,
            "collections": [_collection(info, serving) for info in indexed.get(release_id, [])],
        }
        for release_id in sorted({*stored, *indexed})
    ]
    return JsonAnswer({"success": True, "releases": releases})


def _stored_dims(context: Context) -> dict[str, int | None]:
    dims: dict[str, int | None] = {}
    for release_id in context.releases.ids():
        try:
            dims[release_id] = context.releases.manifest(release_id).dim
        except (ReleaseCorrupt, ReleaseNotFound):
            dims[release_id] = None
    return dims


def _collection(info: CollectionInfo, serving: set[str]) -> dict[str, Any]:
    return {
        "dataset": info.metadata.dataset,
        "collection": info.name,
        "state": info.metadata.state,
        "products": info.points,
        "serving": info.name in serving,
    }


@router.post(
    "/api/releases/{release_id}/activate",
    summary="Make a release serve its model",
    description=(
        "Moves the alias in one request, so searches see the old collection or the new one. Activating the `previous` "
        "of the answer goes back. The release must have been indexed and have passed its checks. Where it was indexed "
        "into several collections, because the catalogue's fields changed, the newest serves unless one is named. The "
        "call takes the media type `application/json` alone, which other web sites cannot send; its body is `{}` or "
        "empty."
    ),
    response_model=ActivatedAnswer,
    responses=problem_responses(*READ_ERRORS, BodyInvalid, MediaTypeUnsupported, ReleaseNotFound, CollectionIncomplete),
)
@requires("admin")
async def activate(
    context: Ctx,
    release_id: ReleaseId,
    dataset: Dataset = None,
    collection: Annotated[str | None, Query(max_length=300, description="One of the release's collections")] = None,
    _body: Activation | None = None,
) -> Response:
    model = model_of_release(release_id)
    chosen = await _dataset_of(context, release_id, dataset)
    info = await _collection_of(context, chosen, release_id, collection)
    if info is None:
        if release_id not in await asyncio.to_thread(context.releases.ids):
            raise ReleaseNotFound(f"there is no release {release_id!r}") from None
        raise CollectionIncomplete(
            f"the release {release_id!r} is not indexed for the dataset {chosen!r}: index it first"
        ) from None
    if info.metadata.state != "ready":
        raise CollectionIncomplete(
            f"the collection {info.name!r} has not passed its checks: wait for its indexing job, or run it again"
        )
    serving = Serving(dataset=chosen, model=model, release_id=release_id, collection=info.name)
    previous = await context.store.activate(serving)
    await context.announce_change(chosen)
    parsed = parse_collection_name(previous) if previous else None
    return JsonAnswer(
        {
            "success": True,
            "dataset": chosen,
            "model": model,
            "release": release_id,
            "collection": info.name,
            "previous": parsed[1] if parsed else None,
            "previousCollection": previous,
        }
    )


async def _collection_of(context: Context, dataset: str, release_id: str, named: str | None) -> CollectionInfo | None:
    """The release's collection of this name, or else the one that passed its checks last, or else any of it.

    Raises ParameterInvalid for a name that is not one of the release's collections.
    """
    own = [
        info
        for info in await context.store.collections(fresh=True)
        if parse_collection_name(info.name) == (dataset, release_id)
    ]
    if named is not None:
        found = next((info for info in own if info.name == named), None)
        if found is None:
            listed = ", ".join(info.name for info in own) or "none"
            raise ParameterInvalid(f"{named[:80]!r} is not one of the release's collections: {listed}")
        return found
    return max(
        own,
        key=lambda info: (info.metadata.state == "ready", info.metadata.published_at or "", generation_of(info.name)),
        default=None,
    )


async def _dataset_of(context: Context, release_id: str, dataset: str | None) -> str:
    """The dataset named or configured, or the only one that the release is indexed for."""
    chosen = dataset if dataset is not None else context.settings.default_dataset
    if chosen is not None:
        return check_dataset_name(chosen)
    datasets = sorted(
        {
            info.metadata.dataset
            for info in await context.store.collections()
            if parse_collection_name(info.name) == (info.metadata.dataset, release_id)
        }
    )
    if len(datasets) == 1:
        return datasets[0]
    if not datasets:
        return await context.retrieval.dataset(None)
    raise ParameterInvalid(f"the release is indexed for several datasets; name one of: {', '.join(datasets)}")
