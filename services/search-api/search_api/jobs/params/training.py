"""Training, the adaptation of a release, and the choice of its projection."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from search_api.jobs.params.catalog import CatalogRequest, catalog_params, checked_weights, must_exist
from search_api.settings import Settings
from vitrine.architectures import check_network_name
from vitrine.errors import ParameterInvalid
from vitrine.evaluation import Metric
from vitrine.products import check_model_name
from vitrine.recipes import Components, DataRecipe, Recipe
from vitrine.releases import ReleaseStore
from vitrine.types import Name


class TrainRequest(CatalogRequest):
    """Start a training."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "dataset": "fashion-product",
                    "root": "/data/fashion-product",
                    "recipe": {
                        "kind": "metric",
                        "name": "mobilenetv2_100_metric",
                        "model": {"model": "mobilenetv2_100", "weights": "pretrained", "embedding": 128},
                        "terms": [{"kind": "cosface"}, {"kind": "supervised_contrastive"}],
                        "optim": {"epochs": 10},
                    },
                }
            ]
        },
    )

    recipe: Recipe = Field(description="What is trained, from where, and how; the same fields as a recipe file")
    unlabelled: CatalogRequest | None = Field(
        default=None,
        description="The catalogue whose pictures are learned from without labels, where the recipe does so",
    )


class AdaptRequest(CatalogRequest):
    """Start an adaptation of batch normalisation. The catalogue is the one whose train part the projection is fitted
    on; `target` is the one whose pictures the network is to get used to, by default the same.
    """

    release_id: str = Field(min_length=1, max_length=140, description="The release that is adapted")
    name: str = Field(min_length=1, max_length=120, description="The model's name of the new release")
    target: CatalogRequest | None = Field(default=None, description="The catalogue to adapt to")
    share: float = Field(
        default=1.0, ge=0, le=1, description="How far the statistics move: 1 makes them the target's own"
    )
    components: int | None = Field(default=None, ge=1, le=4096, description="By default as many as before")
    whiten: bool | None = Field(default=None, description="By default as before")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    sample_max: int = Field(
        default=50_000, ge=2, le=10_000_000, description="Most pictures looked at of each catalogue"
    )
    data: DataRecipe = Field(
        default=DataRecipe(),
        description=(
            "Which products the projection is fitted on (`subset`), and how they are split (`label`, `split`, `group`) "
            "where the release has no split of this catalogue yet"
        ),
    )


class TuneRequest(CatalogRequest):
    """Start the choice of a release's projection from every number of components."""

    release_id: str = Field(min_length=1, max_length=140, description="The release whose network it is")
    name: str = Field(min_length=1, max_length=120, description="The model's name of the new release")
    objective: dict[Name, float] = Field(
        default={"average_precision": 1.0, "precision@15": 1.0},
        min_length=1,
        max_length=8,
        description="Measures and their weights; of their mean the best size is chosen",
    )
    queries: int = Field(default=600, ge=1, le=1_000_000, description="Most validation queries")
    sizes: list[Components] | None = Field(
        default=None, min_length=1, max_length=4096, description="Numbers of components; every one, if absent"
    )
    whiten: bool | None = Field(default=None, description="With whitening, without, or whichever is better")
    augment: int = Field(
        default=0,
        ge=0,
        le=200,
        description=(
            "Make a second release, NAME_augmented, whose gallery's vectors are drawn to so many neighbours when it is "
            "indexed"
        ),
    )
    augment_alpha: float = Field(
        default=0.0, ge=0, le=20, allow_inf_nan=False, description="Weigh each of them by its score to this power"
    )
    data: DataRecipe = Field(default=DataRecipe(), description="Which products, their split and their relevance")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @field_validator("objective")
    @classmethod
    def _measures(cls, objective: dict[str, float]) -> dict[str, float]:
        for name, weight in objective.items():
            Metric.named(name)
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(f"the weight of {name!r} must be above 0")
        return objective

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, sizes: list[int] | None) -> list[int] | None:
        if sizes is not None and min(sizes) < 1:
            raise ValueError("a projection has 1 component at least")
        return sizes


async def train_params(body: TrainRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of a training. Raises as `project_params` does, and ReleaseNotFound for a release it starts from
    or learns from that is not there.
    """
    recipe = body.recipe
    if recipe.model.model is not None:
        check_network_name(recipe.model.model)
        checked_weights(recipe.model.weights)
    if (recipe.unlabelled is None) != (body.unlabelled is None):
        raise ParameterInvalid("'unlabelled' names a catalogue for a recipe that learns from one: give both or neither")
    more = None
    if body.unlabelled is not None:
        more = {**await catalog_params(body.unlabelled, settings), "limit": body.unlabelled.limit}
    named = [release_id for release_id in (recipe.model.release, recipe.teacher) if release_id is not None]
    for release_id in named:
        await asyncio.to_thread(must_exist, release_id, releases)
    return {
        **await catalog_params(body, settings),
        "model": recipe.name,
        "limit": body.limit,
        "recipe": recipe.as_json(),
        "unlabelled": more,
    }


async def adapt_params(body: AdaptRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of an adaptation. Raises as `index_params` does."""
    name = check_model_name(body.name)
    await asyncio.to_thread(must_exist, body.release_id, releases)
    target = body if body.target is None else body.target
    return {
        **await catalog_params(body, settings),
        "model": name,
        "name": name,
        "release_id": body.release_id,
        "target": {**await catalog_params(target, settings), "limit": target.limit},
        "share": body.share,
        "components": body.components,
        "whiten": body.whiten,
        "seed": body.seed,
        "limit": body.limit,
        "sample_max": body.sample_max,
        "data": body.data.model_dump(mode="json"),
    }


async def tune_params(body: TuneRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of a tuning. Raises as `index_params` does."""
    name = check_model_name(body.name)
    await asyncio.to_thread(must_exist, body.release_id, releases)
    return {
        **await catalog_params(body, settings),
        "model": name,
        "name": name,
        "release_id": body.release_id,
        "limit": body.limit,
        "objective": dict(body.objective),
        "queries": body.queries,
        "sizes": body.sizes,
        "whiten": body.whiten,
        "augment": body.augment,
        "augment_alpha": body.augment_alpha,
        "data": body.data.model_dump(mode="json"),
        "seed": body.seed,
    }
