"""The bodies that start jobs, and what a job's parameters become of them: names checked, the catalogue's folder
resolved inside the allowed roots, the release fixed. A job is created with nothing left to guess.
"""

from __future__ import annotations

import asyncio
import math
import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from search_api.settings import Settings
from vitrine.catalogs.registry import READERS, reader_for
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.collections import model_of_release
from vitrine.errors import (
    CatalogRootRefused,
    ModelUnknown,
    ParameterInvalid,
    ReleaseMismatch,
    ReleaseNotFound,
    WeightsUnusable,
)
from vitrine.evaluation import Metric
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.experiments import Experiment, WeightsChoice
from vitrine.products import check_attribute_name, check_dataset_name, check_model_name
from vitrine.recipes import DataRecipe, Recipe
from vitrine.releases import ReleaseStore

_SEED: Final = re.compile(r"seed:[0-9]{1,9}")
_PRETRAINED: Final = "pretrained"


class CatalogRequest(BaseModel):
    """Which catalogue a job reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(min_length=1, max_length=120, description="The name its products go by")
    reader: str | None = Field(
        default=None,
        max_length=40,
        description=f"How the folder is laid out: {', '.join(READERS)}; by default the reader of the dataset's name",
    )
    root: str = Field(min_length=1, max_length=4096, description="The catalogue's folder, below an allowed root")
    limit: int | None = Field(default=None, ge=1, le=100_000_000, description="Read only so many products")


class IndexRequest(CatalogRequest):
    """Start an indexing."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"dataset": "fashion-product", "root": "/data/fashion-product", "model": "mobilenetv2_100"}]
        },
    )

    model: str = Field(min_length=1, max_length=120, description="The model")
    release_id: str | None = Field(
        default=None, max_length=140, description="The release; by default the model's newest"
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
        default=_PRETRAINED,
        max_length=4096,
        description="`pretrained`, `seed:N` for random ones, or the path of a safetensors file below an allowed root",
    )
    options: dict[str, str | int | float | bool] = Field(
        default={}, max_length=32, description="Options of the architecture, e.g. {'pad_type': 'same'}"
    )
    components: int = Field(default=128, ge=1, le=4096, description="Components of a vector")
    whiten: bool = Field(default=True, description="Whether the PCA whitens")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of the sample and of the PCA")
    sample_max: int = Field(default=50_000, ge=2, le=10_000_000, description="Most pictures the PCA is fitted on")


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


class TuneRequest(CatalogRequest):
    """Start the choice of a release's projection from every number of components."""

    release_id: str = Field(min_length=1, max_length=140, description="The release whose network it is")
    name: str = Field(min_length=1, max_length=120, description="The model's name of the new release")
    objective: dict[str, float] = Field(
        default={"average_precision": 1.0, "precision@15": 1.0},
        min_length=1,
        max_length=8,
        description="Measures and their weights; of their mean the best size is chosen",
    )
    queries: int = Field(default=600, ge=1, le=1_000_000, description="Most validation queries")
    sizes: list[int] | None = Field(
        default=None, min_length=1, max_length=4096, description="Numbers of components; every one, if absent"
    )
    whiten: bool | None = Field(default=None, description="With whitening, without, or whichever is better")
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
    weights: dict[str, WeightsChoice] = Field(default={}, max_length=40, description="Weights by network")
    download: bool = Field(default=False, description="Whether weights that are not given may be downloaded")


async def index_params(body: IndexRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of an indexing job.

    Raises ParameterInvalid, CatalogRootRefused, CatalogNotFound, ModelUnknown where the model has no release,
    ReleaseNotFound, and ReleaseMismatch where the release is another model's.
    """
    model = check_model_name(body.model)
    return {
        **await _catalog_params(body, settings),
        "model": model,
        "release_id": await asyncio.to_thread(_release_of, body.release_id, model, releases),
        "limit": body.limit,
    }


async def project_params(body: ProjectRequest, *, settings: Settings) -> dict[str, Any]:
    """The parameters of a job that makes a release. Raises as `index_params` does, and WeightsUnusable."""
    check_model_name(body.model.removeprefix("timm:"))
    return {
        **await _catalog_params(body, settings),
        "model": body.model,
        "weights": _checked_weights(body.weights),
        "options": dict(body.options),
        "components": body.components,
        "whiten": body.whiten,
        "seed": body.seed,
        "limit": body.limit,
        "sample_max": body.sample_max,
    }


async def train_params(body: TrainRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of a training. Raises as `project_params` does, and ReleaseNotFound for a release it starts from
    or learns from that is not there.
    """
    recipe = body.recipe
    if recipe.model.model is not None:
        check_model_name(recipe.model.model.removeprefix("timm:"))
        _checked_weights(recipe.model.weights)
    if (recipe.unlabelled is None) != (body.unlabelled is None):
        raise ParameterInvalid("'unlabelled' names a catalogue for a recipe that learns from one: give both or neither")
    more = None
    if body.unlabelled is not None:
        more = {**await _catalog_params(body.unlabelled, settings), "limit": body.unlabelled.limit}
    named = [release_id for release_id in (recipe.model.release, recipe.teacher) if release_id is not None]
    for release_id in named:
        await asyncio.to_thread(_must_exist, release_id, releases)
    return {
        **await _catalog_params(body, settings),
        "model": recipe.name,
        "limit": body.limit,
        "recipe": recipe.as_json(),
        "unlabelled": more,
    }


async def adapt_params(body: AdaptRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of an adaptation. Raises as `index_params` does."""
    name = check_model_name(body.name)
    await asyncio.to_thread(_must_exist, body.release_id, releases)
    target = body if body.target is None else body.target
    return {
        **await _catalog_params(body, settings),
        "model": name,
        "name": name,
        "release_id": body.release_id,
        "target": {**await _catalog_params(target, settings), "limit": target.limit},
        "share": body.share,
        "components": body.components,
        "whiten": body.whiten,
        "seed": body.seed,
        "limit": body.limit,
        "sample_max": body.sample_max,
    }


async def tune_params(body: TuneRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of a tuning. Raises as `index_params` does."""
    name = check_model_name(body.name)
    await asyncio.to_thread(_must_exist, body.release_id, releases)
    return {
        **await _catalog_params(body, settings),
        "model": name,
        "name": name,
        "release_id": body.release_id,
        "limit": body.limit,
        "objective": dict(body.objective),
        "queries": body.queries,
        "sizes": body.sizes,
        "whiten": body.whiten,
        "data": body.data.model_dump(mode="json"),
        "seed": body.seed,
    }


async def evaluate_params(body: EvaluateRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of an evaluation. Raises as `index_params` does."""
    plan = body.plan
    for release_id in (*plan.releases, *(way.fuse for way in plan.ways if way.fuse is not None)):
        await asyncio.to_thread(_must_exist, release_id, releases)
    asked = None
    if body.queries is not None:
        asked = {**await _catalog_params(body.queries, settings), "limit": body.queries.limit}
    return {
        **await _catalog_params(body, settings),
        "limit": body.limit,
        "plan": plan.model_dump(mode="json"),
        "queries": asked,
        "title": body.title,
    }


async def visualize_params(body: VisualizeRequest, *, settings: Settings, releases: ReleaseStore) -> dict[str, Any]:
    """The parameters of a map. Raises as `index_params` does."""
    await asyncio.to_thread(_must_exist, body.release_id, releases)
    return {
        **await _catalog_params(body, settings),
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
            catalogs[source] = {**await _catalog_params(catalog, settings), "limit": catalog.limit}
    for model, chosen in body.weights.items():
        check_model_name(model.removeprefix("timm:"))
        _checked_weights(chosen.weights)
    return {
        "experiment": body.experiment.model_dump(mode="json"),
        "catalogs": catalogs,
        "weights": {model: chosen.model_dump(mode="json") for model, chosen in body.weights.items()},
        "download": body.download,
    }


async def _catalog_params(body: CatalogRequest, settings: Settings) -> dict[str, Any]:
    dataset = check_dataset_name(body.dataset)
    reader = body.reader if body.reader is not None else reader_for(dataset)
    if reader not in READERS:
        raise ParameterInvalid(f"there is no catalogue reader {reader[:80]!r}; there are {', '.join(READERS)}")
    root = await asyncio.to_thread(_resolved_root, body.root, settings)
    return {"dataset": dataset, "reader": reader, "root": str(root)}


def _resolved_root(root: str, settings: Settings) -> Path:
    if not Path(root).is_absolute():
        raise CatalogRootRefused(f"the catalogue folder {root[:200]!r} is not an absolute path")
    return resolve_catalog_root(root, allowed_roots(settings))


def _release_of(release_id: str | None, model: str, releases: ReleaseStore) -> str:
    if release_id is None:
        newest = releases.newest(model)
        if newest is None:
            raise ModelUnknown(f"the model {model!r} has no release: make one first (POST /api/jobs/project)")
        return newest
    if model_of_release(release_id) != model:
        raise ReleaseMismatch(f"the release {release_id!r} is not one of the model {model!r}")
    _must_exist(release_id, releases)
    return release_id


def _must_exist(release_id: str, releases: ReleaseStore) -> None:
    if release_id not in releases.ids():
        raise ReleaseNotFound(f"there is no release {release_id[:140]!r}")


def _checked_weights(weights: str) -> str:
    """Return `weights` where they can be meant. Whether the file may be read is for the trainer, which reads it."""
    if weights == _PRETRAINED or _SEED.fullmatch(weights):
        return weights
    path = Path(weights)
    if not path.is_absolute() or path.suffix != ".safetensors" or ".." in path.parts or "\0" in weights:
        raise WeightsUnusable("weights are 'pretrained', 'seed:N' or the absolute path of a .safetensors file")
    return weights
