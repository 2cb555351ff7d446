"""The parameters of the jobs that make a release."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from vitrine.architectures import Options, check_network_name, check_timm_name
from vitrine.errors import ParameterInvalid, WeightsUnusable
from vitrine.evaluation.evaluate import Metric
from vitrine.jobs.params.catalog import CatalogParams
from vitrine.parse_recipes import AnyRecipe, ParseRecipe
from vitrine.products import check_model_name
from vitrine.recipes import Components, DataRecipe, Recipe
from vitrine.types import Name

PRETRAINED: Final = "pretrained"
_SEED: Final = re.compile(r"seed:[0-9]{1,9}")


def check_weights(weights: str) -> str:
    """Return `weights`: `pretrained`, `seed:N` or the absolute path of a safetensors file. Raises WeightsUnusable.

    Whether the file may be read is checked by the trainer.
    """
    if weights == PRETRAINED or _SEED.fullmatch(weights):
        return weights
    path = Path(weights)
    if not path.is_absolute() or path.suffix != ".safetensors" or ".." in path.parts or "\0" in weights:
        raise WeightsUnusable("weights are 'pretrained', 'seed:N' or the absolute path of a .safetensors file")
    return weights


class ProjectParams(CatalogParams):
    """Make a release of a network, its weights and a projection fitted on a catalogue. Nothing is trained."""

    model_config = ConfigDict(
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
        min_length=1, max_length=120, description="A model of the table, or any other model of timm as timm:NAME"
    )
    weights: str = Field(
        default=PRETRAINED,
        max_length=4096,
        description="`pretrained`, `seed:N` for random weights, or a safetensors file below an allowed root",
    )
    weights_trained_on: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description=(
            "What the weights of a file were trained on, e.g. ImageNet. Without it evaluations report that it is "
            "unknown, unless the weights are those of a stored release"
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

    @field_validator("model")
    @classmethod
    def _model(cls, name: str) -> str:
        return check_network_name(name)

    @field_validator("weights")
    @classmethod
    def _weights(cls, weights: str) -> str:
        return check_weights(weights)


class TrainParams(CatalogParams):
    """Train a network by a recipe and make a release of it."""

    model_config = ConfigDict(
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

    recipe: AnyRecipe = Field(description="What is trained, from where, and how; the same fields as a recipe file")
    unlabelled: CatalogParams | None = Field(
        default=None, description="The catalogue to learn from without labels, if the recipe does so"
    )
    street: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="The folder of outlined street photographs, below an allowed root, if the recipe trains on them",
    )

    outlined: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description=(
            "A second folder of outlined photographs, below an allowed root, that a parser is trained on and never "
            "validated on, e.g. of single garments"
        ),
    )

    def as_record(self) -> dict[str, Any]:
        return {**super().as_record(), "model": self.recipe.name}

    def release_ids(self) -> Iterator[str]:
        recipe = self.recipe
        teacher = None if isinstance(recipe, ParseRecipe) else recipe.teacher
        yield from (one for one in (recipe.model.release, teacher) if one is not None)

    @field_validator("recipe")
    @classmethod
    def _start(cls, recipe: Recipe | ParseRecipe) -> Recipe | ParseRecipe:
        if isinstance(recipe, ParseRecipe):
            check_timm_name(recipe.model.timm)
            check_weights(recipe.model.weights)
        elif recipe.model.model is not None:
            check_network_name(recipe.model.model)
            check_weights(recipe.model.weights)
        return recipe

    @model_validator(mode="after")
    def _other_sources(self) -> Self:
        if isinstance(self.recipe, ParseRecipe):
            if self.unlabelled is not None or self.street is not None:
                raise ParameterInvalid(
                    "a parser is trained on outlined photographs only, those of 'root' and 'outlined': leave out "
                    "'unlabelled' and 'street'"
                )
            return self
        if self.outlined is not None:
            raise ParameterInvalid("'outlined' names photographs for a parser: leave it out for this kind of recipe")
        if (self.recipe.unlabelled is None) != (self.unlabelled is None):
            raise ParameterInvalid(
                "'unlabelled' names a catalogue for a recipe that learns from one: give both or neither"
            )
        if (self.recipe.street is None) != (self.street is None):
            raise ParameterInvalid(
                "'street' names photographs for a recipe that trains on street garments: give both or neither"
            )
        return self


class _FromRelease(CatalogParams):
    """Make a new release from another one."""

    release_id: str = Field(min_length=1, max_length=140, description="The release to start from")
    name: str = Field(min_length=1, max_length=120, description="The model name of the new release")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    def as_record(self) -> dict[str, Any]:
        return {**super().as_record(), "model": self.name}

    def release_ids(self) -> Iterator[str]:
        yield self.release_id

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        return check_model_name(name)


class AdaptParams(_FromRelease):
    """Adapt the batch normalisation of a release to the pictures of `target`, by default of the same catalogue. The
    projection is fitted on the train part of the catalogue.
    """

    target: CatalogParams | None = Field(default=None, description="The catalogue to adapt to")
    share: float = Field(
        default=1.0, ge=0, le=1, description="How far the statistics move: 1 makes them those of the target"
    )
    components: int | None = Field(default=None, ge=1, le=4096, description="By default as many as before")
    whiten: bool | None = Field(default=None, description="By default as before")
    sample_max: int = Field(default=50_000, ge=2, le=10_000_000, description="Most pictures used of each catalogue")
    data: DataRecipe = Field(
        default=DataRecipe(),
        description=(
            "Which products the projection is fitted on (`subset`), and how they are split (`label`, `split`, `group`) "
            "if the release has no split of this catalogue yet"
        ),
    )


class TuneParams(_FromRelease):
    """Choose the projection of a release from every number of components."""

    objective: dict[Name, float] = Field(
        default={"average_precision": 1.0, "precision@15": 1.0},
        min_length=1,
        max_length=8,
        description="Measures and their weights; the size with the best weighted mean is chosen",
    )
    queries: int = Field(default=600, ge=1, le=1_000_000, description="Most validation queries")
    sizes: list[Components] | None = Field(
        default=None, min_length=1, max_length=4096, description="Numbers of components to try; by default all"
    )
    whiten: bool | None = Field(default=None, description="With whitening, without, or whichever is better")
    augment: int = Field(
        default=0,
        ge=0,
        le=200,
        description=(
            "Make a second release, NAME_augmented: when it is indexed, each gallery vector is smoothed with so many "
            "neighbours"
        ),
    )
    augment_alpha: float = Field(
        default=0.0, ge=0, le=20, allow_inf_nan=False, description="Power of a neighbour's score that weighs it"
    )
    data: DataRecipe = Field(default=DataRecipe(), description="Which products, their split and their relevance")

    @field_validator("objective")
    @classmethod
    def _measures(cls, objective: dict[str, float]) -> dict[str, float]:
        for name, weight in objective.items():
            Metric.named(name)
            if not (math.isfinite(weight) and weight > 0):
                raise ValueError(f"the weight of {name!r} must be above 0")
        return objective
