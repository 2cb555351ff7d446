"""The parameters of the jobs that measure releases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, field_validator

from vitrine.architectures import check_network_name
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.experiments import Experiment, WeightsChoice
from vitrine.jobs.params.catalog import CatalogParams, JobParams
from vitrine.jobs.params.releases import check_weights
from vitrine.jobs.record import JobRecord
from vitrine.products import check_attribute_name, check_dataset_name, check_model_name
from vitrine.recipes import DataRecipe
from vitrine.types import Name


class EvaluateParams(CatalogParams):
    """Measure releases. The catalogue is the gallery; queries come from it, or from a second one, `queries`."""

    plan: EvaluationPlan = Field(description="What is measured, of which releases, by which protocol")
    queries: CatalogParams | None = Field(default=None, description="Photographs of the same kinds, as queries")
    title: str = Field(default="Evaluation", min_length=1, max_length=200, description="The title of the report")

    def release_ids(self) -> Iterator[str]:
        yield from self.plan.releases
        yield from (way.fuse for way in self.plan.ways if way.fuse is not None)


class VisualizeParams(CatalogParams):
    """Draw a map of a catalogue as a release sees it."""

    release_id: str = Field(min_length=1, max_length=140, description="The release")
    colour: str = Field(default="articleType", min_length=1, max_length=64, description="The attribute shown by colour")
    methods: list[Literal["tsne", "umap"]] = Field(
        default=["tsne", "umap"], min_length=1, max_length=2, description="How the vectors are laid out"
    )
    count: int = Field(default=2000, ge=8, le=20_000, description="Most pictures, drawn by the seed")
    expand: int = Field(default=0, ge=0, le=50, description="Neighbours that each vector is averaged with")
    data: DataRecipe = Field(default=DataRecipe(), description="Which products")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    def release_ids(self) -> Iterator[str]:
        yield self.release_id

    @field_validator("colour")
    @classmethod
    def _attribute(cls, name: str) -> str:
        return check_attribute_name(name)

    @field_validator("methods")
    @classmethod
    def _once(cls, methods: list[Literal["tsne", "umap"]]) -> list[Literal["tsne", "umap"]]:
        return list(dict.fromkeys(methods))


class HealthParams(JobParams):
    """Look for the faults of a dataset as it is served: duplicates, wrong labels, outliers, empty and odd values."""

    dataset: str = Field(min_length=1, max_length=120, description="The dataset, which must be indexed")
    model: str | None = Field(
        default=None, min_length=1, max_length=120, description="The model that serves it; by default the only one"
    )
    label: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="The attribute whose values are compared with the pictures; by default articleType",
    )
    most: int = Field(default=200, ge=1, le=2_000, description="Most entries of each list of the report")

    @field_validator("dataset")
    @classmethod
    def _dataset(cls, name: str) -> str:
        return check_dataset_name(name)

    @field_validator("model")
    @classmethod
    def _model(cls, name: str | None) -> str | None:
        return name if name is None else check_model_name(name)

    @field_validator("label")
    @classmethod
    def _label(cls, name: str | None) -> str | None:
        return name if name is None else check_attribute_name(name)


class ExperimentParams(JobParams):
    """Make and measure the releases of an experiment. Sources that are not given, and networks without weights, are
    left out and named in the report.
    """

    experiment: Experiment = Field(description="What is made and measured; the same fields as an experiment file")
    catalogue: CatalogParams = Field(description="The catalogue that is searched")
    deepfashion: CatalogParams | None = Field(
        default=None, description="DeepFashion, or photographs of the same kinds in its place"
    )
    weights: dict[Name, WeightsChoice] = Field(default={}, max_length=40, description="Weights by network")
    download: bool = Field(default=False, description="Whether weights that are not given may be downloaded")

    @classmethod
    def of(cls, record: JobRecord) -> Self:
        # Older records store both catalogues in `catalogs`.
        params = {**record.params.get("catalogs", {}), **record.params}
        return super().of(record.model_copy(update={"params": params}))

    @field_validator("weights")
    @classmethod
    def _weights(cls, weights: dict[str, WeightsChoice]) -> dict[str, WeightsChoice]:
        for model, choice in weights.items():
            check_network_name(model)
            check_weights(choice.weights)
        return weights
