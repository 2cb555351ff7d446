"""Evaluations, maps and experiments."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from search_api.jobs.params.catalog import CatalogRequest, catalog_params, checked_weights, must_exist
from search_api.settings import Settings
from vitrine.architectures import check_network_name
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.experiments import Experiment, WeightsChoice
from vitrine.products import check_attribute_name
from vitrine.recipes import DataRecipe
from vitrine.releases import ReleaseStore
from vitrine.types import Name


class EvaluateRequest(CatalogRequest):
    """Start an evaluation. The catalogue is the gallery; queries come from it, or from a second one, `queries`."""

    plan: EvaluationPlan = Field(description="What is measured, of which releases, by which protocol")
    queries: CatalogRequest | None = Field(default=None, description="Photographs to ask with, of the same kinds")
    title: str = Field(default="Evaluation", min_length=1, max_length=200, description="What the report is called")


class VisualizeRequest(CatalogRequest):
    """Start the drawing of a map of a catalogue as a release sees it."""

    release_id: str = Field(min_length=1, max_length=140, description="The release")
    colour: str = Field(default="articleType", min_length=1, max_length=64, description="The attribute shown by colour")
    methods: list[Literal["tsne", "umap"]] = Field(
        default=["tsne", "umap"], min_length=1, max_length=2, description="How the vectors are laid out"
    )
    count: int = Field(default=2000, ge=8, le=20_000, description="Most pictures, drawn by the seed")
    expand: int = Field(default=0, ge=0, le=50, description="Neighbours that each vector is averaged with")
    data: DataRecipe = Field(default=DataRecipe(), description="Which products")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @field_validator("colour")
    @classmethod
    def _attribute(cls, name: str) -> str:
        return check_attribute_name(name)


class ExperimentRequest(BaseModel):
    """Start an experiment. Sources that are not named, and networks whose weights are not given, are left out of it,
    and named in its report.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: Experiment = Field(description="What is made and measured; the same fields as an experiment file")
    catalogue: CatalogRequest = Field(description="The catalogue that is searched")
    deepfashion: CatalogRequest | None = Field(
        default=None, description="DeepFashion, or photographs of the same kinds in its place"
    )
    weights: dict[Name, WeightsChoice] = Field(default={}, max_length=40, description="Weights by network")
    download: bool = Field(default=False, description="Whether weights that are not given may be downloaded")


async def evaluate_params(body: EvaluateRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of an evaluation. Raises as `index_params` does."""
    plan = body.plan
    for release_id in (*plan.releases, *(way.fuse for way in plan.ways if way.fuse is not None)):
        await asyncio.to_thread(must_exist, release_id, releases)
    asked = None
    if body.queries is not None:
        asked = {**await catalog_params(body.queries, settings), "limit": body.queries.limit}
    return {
        **await catalog_params(body, settings),
        "limit": body.limit,
        "plan": plan.model_dump(mode="json"),
        "queries": asked,
        "title": body.title,
    }


async def visualize_params(body: VisualizeRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of a map. Raises as `index_params` does."""
    await asyncio.to_thread(must_exist, body.release_id, releases)
    return {
        **await catalog_params(body, settings),
        "limit": body.limit,
        "release_id": body.release_id,
        "colour": body.colour,
        "methods": list(dict.fromkeys(body.methods)),
        "count": body.count,
        "expand": body.expand,
        "data": body.data.model_dump(mode="json"),
        "seed": body.seed,
    }


async def experiment_params(body: ExperimentRequest, *, settings: Settings) -> dict[str, Any]:
    """The parameters of an experiment. Raises as `index_params` does, and WeightsUnusable."""
    catalogs = {}
    for source, catalog in (("catalogue", body.catalogue), ("deepfashion", body.deepfashion)):
        if catalog is not None:
            catalogs[source] = {**await catalog_params(catalog, settings), "limit": catalog.limit}
    for model, chosen in body.weights.items():
        check_network_name(model)
        checked_weights(chosen.weights)
    return {
        "experiment": body.experiment.model_dump(mode="json"),
        "catalogs": catalogs,
        "weights": {model: chosen.model_dump(mode="json") for model, chosen in body.weights.items()},
        "download": body.download,
    }
