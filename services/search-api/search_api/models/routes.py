"""The routes of models and releases: list them, and make a release serve."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.models.schemas import ActivatedAnswer, ModelsAnswer, ReleasesAnswer
from search_api.models.service import (
    activate_release,
    collection_entry,
    indexed_releases,
    known_releases,
    stored_manifests,
)
from search_api.openapi import COMMON_ERRORS, READ_ERRORS
from search_api.products.schemas import Dataset
from vitrine.errors import (
    BodyInvalid,
    CollectionIncomplete,
    CollectionNotFound,
    MediaTypeUnsupported,
    ReleaseNotFound,
    ReleaseOfOtherKind,
    VectorStoreUnavailable,
)
from vitrine.kinds import filterable
from vitrine.products import check_dataset_name
from vitrine.qdrant.naming import Serving
from vitrine.web import JsonRoute, problem_responses, requires

router = APIRouter(tags=["models"], route_class=JsonRoute)
ReleaseId = Annotated[str, Path(description="The release's id", examples=["mobilenetv2_100-0123456789"])]


class Activation(BaseModel):
    """An empty body; it has no options yet."""

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
    # Not from the cache: a client asks right after an indexing has ended.
    servings = [one for one in await context.store.servings(fresh=True) if chosen in (None, one.dataset)]
    described = await asyncio.gather(*(_detail(context, serving) for serving in servings))
    details = [detail for detail in described if detail is not None]
    models = sorted({detail["model"] for detail in details})
    return JsonAnswer({"success": True, "models": models, "details": details})


async def _detail(context: Context, serving: Serving) -> dict[str, Any] | None:
    try:
        info = await context.store.collection(serving.collection, fresh=True)
    except CollectionNotFound:  # removed after the aliases were read
        return None
    return {
        "dataset": serving.dataset,
        "model": serving.model,
        "release": serving.release_id,
        "collection": serving.collection,
        "dim": info.dim,
        "products": info.points,
        "fields": dict(sorted(filterable(info.filters).items())),
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
    stored, indexed = await asyncio.gather(stored_manifests(context), indexed_releases(context))
    releases = [
        {
            "id": release.id,
            "model": release.model,
            "kind": release.kind,
            "dim": None if release.manifest is None else release.manifest.dim,
            "stored": release.stored,
            "collections": [collection_entry(one.info, serving=one.serving) for one in release.indexed],
        }
        for release in known_releases(stored, indexed)
    ]
    return JsonAnswer({"success": True, "releases": releases})


@router.post(
    "/api/releases/{release_id}/activate",
    summary="Make a release serve its model",
    description=(
        "Moves the alias in one request, so searches see the old collection or the new one. Activating the `previous` "
        "of the answer goes back. The release must have been indexed and have passed its checks; a parser of garments "
        "serves no dataset. Where a release was indexed into several collections, because the catalogue's fields "
        "changed, the newest serves unless one is named. The call takes the media type `application/json` alone, which "
        "other web sites cannot send; its body is `{}` or empty."
    ),
    response_model=ActivatedAnswer,
    responses=problem_responses(
        *READ_ERRORS, BodyInvalid, MediaTypeUnsupported, ReleaseNotFound, ReleaseOfOtherKind, CollectionIncomplete
    ),
)
@requires("admin")
async def activate(
    context: Ctx,
    release_id: ReleaseId,
    dataset: Dataset = None,
    collection: Annotated[str | None, Query(max_length=300, description="One of the release's collections")] = None,
    _body: Activation | None = None,
) -> Response:
    activated = await activate_release(context, release_id, dataset=dataset, collection=collection)
    return JsonAnswer(
        {
            "success": True,
            "dataset": activated.serving.dataset,
            "model": activated.serving.model,
            "release": release_id,
            "collection": activated.serving.collection,
            "previous": activated.previous,
            "previousCollection": activated.previous_collection,
        }
    )
