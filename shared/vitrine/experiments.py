"""The definition of an experiment: releases to create, evaluations of them, and published figures to compare with. It
is written as TOML, sent as JSON, and runs as one job that skips finished parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vitrine.architectures import Options
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.parsing import parse_as, read_toml
from vitrine.products import check_model_name
from vitrine.recipes import Recipe
from vitrine.types import JsonObject, Name

# Where pictures come from: the searched catalogue, or DeepFashion (photographs).
Source = Literal["catalogue", "deepfashion"]
# A valid release id for the validation of recipes and plans whose releases do not exist yet.
_PLACEHOLDER = "x-0000000000"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReleaseStep(_Part):
    """One release to create."""

    name: str = Field(max_length=120, description="The model name of the release, in the experiment and in the store")
    make: Literal["project", "train", "adapt", "tune"] = Field(description="The kind of job that creates it")
    model: str | None = Field(default=None, max_length=120, description="project, train: the network to start from")
    start: str | None = Field(default=None, max_length=120, description="The step whose release to start from")
    source: Source = Field(default="catalogue", description="The catalogue to train on or adapt to")
    recipe: JsonObject = Field(default={}, description="train: the recipe, without name and initial weights")
    options: JsonObject = Field(default={}, description="project, adapt, tune: the job's other parameters")

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        check_model_name(self.name)
        if (self.model is None) == (self.start is None):
            raise ValueError(f"the release {self.name!r} needs either a model or a step to start from")
        if self.make in ("adapt", "tune") and self.start is None:
            raise ValueError(f"the release {self.name!r} needs a step to start from, because {self.make} creates it")
        if self.make == "project" and self.model is None:
            raise ValueError(f"the release {self.name!r} needs a model to start from, because project creates it")
        if self.make == "train":
            start = {"release": _PLACEHOLDER} if self.model is None else {"model": self.model}
            given = self.recipe.get("model", {})
            if not isinstance(given, dict):
                raise ValueError(f"'model' in the recipe of {self.name!r} must be a table")
            model = {**given, **start}
            Recipe.model_validate({**self.recipe, "name": self.name, "model": model})
        return self


class EvaluationStep(_Part):
    """One evaluation of several releases."""

    name: str = Field(min_length=1, max_length=80)
    releases: tuple[Name, ...] = Field(min_length=1, max_length=40, description="Names of steps")
    queries: Source = Field(default="catalogue", description="Where the queries come from")
    plan: JsonObject = Field(default={}, description="The plan, without its releases")

    @model_validator(mode="after")
    def _is_a_plan(self) -> Self:
        EvaluationPlan.model_validate({**self.plan, "releases": [_PLACEHOLDER]})
        return self


class Published(_Part):
    """Published figures of a release, in this evaluation and search variant (`way`)."""

    release: Name
    evaluation: Name
    way: Name = "plain"
    components: int | None = Field(default=None, ge=1, le=16_384)
    mean_average_precision: float
    precision_at_15: float


class Experiment(_Part):
    """Releases, evaluations and published figures. A file may have a table `recipes`, whose names its releases use in
    place of a recipe; they are resolved here.
    """

    number: int = Field(ge=1, le=99)
    title: str = Field(min_length=1, max_length=120)
    question: str = Field(min_length=1, max_length=1000, description="The question that the experiment answers")
    releases: tuple[ReleaseStep, ...] = Field(min_length=1, max_length=40)
    evaluations: tuple[EvaluationStep, ...] = Field(min_length=1, max_length=20)
    published: tuple[Published, ...] = Field(default=(), max_length=400)

    @model_validator(mode="before")
    @classmethod
    def _with_recipes(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        recipes, steps = content.get("recipes", {}), content.get("releases", ())
        if not isinstance(recipes, dict) or not isinstance(steps, list | tuple):
            return content
        return {
            **{name: value for name, value in content.items() if name != "recipes"},
            "releases": [_with_recipe(step, recipes) for step in steps],
        }

    @field_validator("releases")
    @classmethod
    def _in_order(cls, steps: tuple[ReleaseStep, ...]) -> tuple[ReleaseStep, ...]:
        before: set[str] = set()
        for step in steps:
            if step.name in before:
                raise ValueError(f"two releases have the name {step.name!r}")
            if step.start is not None and step.start not in before:
                raise ValueError(f"{step.name!r} starts from {step.start!r}, which no earlier step creates")
            before.add(step.name)
        return steps

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        made = {step.name for step in self.releases}
        measured = {step.name for step in self.evaluations}
        for step in self.evaluations:
            unknown = sorted(set(step.releases) - made)
            if unknown:
                raise ValueError(f"the evaluation {step.name!r} names releases that no step creates: {unknown}")
        for one in self.published:
            if one.release not in made or one.evaluation not in measured:
                raise ValueError(
                    f"a published figure names {one.release!r} in {one.evaluation!r}, which the file does not have"
                )
        return self


def _with_recipe(step: Any, recipes: dict[str, Any]) -> Any:
    named = step.get("recipe") if isinstance(step, dict) else None
    if not isinstance(named, str):
        return step
    if named not in recipes:
        raise ValueError(f"the release {step.get('name')!r} names the recipe {named!r}, which is not in the file")
    return {**step, "recipe": recipes[named]}


class WeightsChoice(_Part):
    """Weights of a network, with the options of the architecture and the input that they need."""

    weights: str = Field(max_length=4096)
    trained_on: str | None = Field(default=None, max_length=200, description="What they were trained on, as free text")
    options: Options = {}


def parse_experiment(content: object) -> Experiment:
    """Validate parsed TOML or JSON. Raises ParameterInvalid, which names the invalid fields."""
    return parse_as(Experiment, content, what="experiment")


def read_experiment(path: Path) -> Experiment:
    """Read an experiment file. Raises ParameterInvalid if it is missing, not TOML or not a valid experiment."""
    return parse_experiment(read_toml(path, what="experiment"))
