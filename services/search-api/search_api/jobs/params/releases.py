"""Indexing with a release, and the making of one from a backbone."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import ConfigDict, Field

from search_api.jobs.params.catalog import PRETRAINED, CatalogRequest, catalog_params, checked_weights, must_exist
from search_api.settings import Settings
from vitrine.architectures import Options, check_network_name
from vitrine.errors import ModelUnknown, ReleaseMismatch
from vitrine.products import check_model_name
from vitrine.qdrant.collections import model_of_release
from vitrine.recipes import DataRecipe
from vitrine.releases import ReleaseStore


class IndexRequest(CatalogRequest):
    """Start an indexing."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "examples": [{"dataset": "fashion-product", "root": "/data/fashion-product", "model": "mobilenetv2_100"}]
        },
    )

    model: str = Field(min_length=1, max_length=120, description="The model")
    release_id: str | None = Field(
        default=None, max_length=140, description="The release; by default the model's newest"
    )
    allow_removal: bool = Field(
        default=False,
        alias="allowRemoval",
        description="Index even where more than a fifth of the products that serve would be removed",
    )


class ProjectRequest(CatalogRequest):
    """Start the making of a release."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "dataset": "fashion-product",
                    "root": "/data/fashion-product",
                    "model": "mobilenetv2_100",
                    "weights": "pretrained",
                    "components": 128,
                }
            ]
        },
    )

    model: str = Field(
        min_length=1, max_length=120, description="A model of the table, or any other of timm's as timm:NAME"
    )
    weights: str = Field(
        default=PRETRAINED,
        max_length=4096,
        description="`pretrained`, `seed:N` for random ones, or the path of a safetensors file below an allowed root",
    )
    weights_trained_on: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description=(
            "What the weights of a file were trained on, in your words, e.g. ImageNet. Without it evaluations say that "
            "it is unknown, unless they are those of a stored release"
        ),
    )
    options: Options = Field(default={}, description="Options of the architecture, e.g. {'pad_type': 'same'}")
    components: int = Field(default=128, ge=1, le=4096, description="Components of a vector")
    whiten: bool = Field(default=True, description="Whether the PCA whitens")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the split, the sample and the PCA")
    sample_max: int = Field(default=50_000, ge=2, le=10_000_000, description="Most pictures the PCA is fitted on")
    data: DataRecipe = Field(
        default=DataRecipe(),
        description="Which products (`subset`), and how they are split (`label`, `split`, `group`)",
    )


async def index_params(body: IndexRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of an indexing job.

    Raises ParameterInvalid, CatalogRootRefused, CatalogNotFound, ModelUnknown where the model has no release,
    ReleaseNotFound, and ReleaseMismatch where the release is another model's.
    """
    model = check_model_name(body.model)
    return {
        **await catalog_params(body, settings),
        "model": model,
        "release_id": await asyncio.to_thread(_release_of, body.release_id, model, releases),
        "limit": body.limit,
        "allow_removal": body.allow_removal,
    }


async def project_params(body: ProjectRequest, *, settings: Settings) -> dict[str, Any]:
    """The parameters of a job that makes a release. Raises as `index_params` does, and WeightsUnusable."""
    check_network_name(body.model)
    return {
        **await catalog_params(body, settings),
        "model": body.model,
        "weights": checked_weights(body.weights),
        "options": dict(body.options),
        "components": body.components,
        "whiten": body.whiten,
        "seed": body.seed,
        "limit": body.limit,
        "sample_max": body.sample_max,
        "weights_trained_on": body.weights_trained_on,
        "data": body.data.model_dump(mode="json"),
    }


def _release_of(release_id: str | None, model: str, releases: ReleaseStore) -> str:
    if release_id is None:
        newest = releases.newest(model)
        if newest is None:
            raise ModelUnknown(f"the model {model!r} has no release: make one first (POST /api/jobs/project)")
        return newest
    if model_of_release(release_id) != model:
        raise ReleaseMismatch(f"the release {release_id!r} is not one of the model {model!r}")
    must_exist(release_id, releases)
    return release_id
