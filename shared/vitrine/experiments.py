"""An experiment as data: releases to be made and evaluations of them, with the figures that were published for the
same. It is written as TOML, travels as JSON, and runs as one job that skips what exists.
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

# What an experiment's pictures are called: the catalogue that is searched, DeepFashion, and photographs in its place.
Source = Literal["catalogue", "deepfashion"]
# Stands in a step's recipe or plan for what only the run knows.
_PLACEHOLDER = "x-0000000000"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReleaseStep(_Part):
    """One release that the experiment needs."""

    name: str = Field(max_length=120, description="What the release's model is called, here and in the store")
    make: Literal["project", "train", "adapt", "tune"] = Field(description="The job that makes it")
    model: str | None = Field(
        default=None, max_length=120, description="project, train: the network, where it starts from one"
    )
    start: str | None = Field(default=None, max_length=120, description="The step whose release it starts from")
    source: Source = Field(default="catalogue", description="What it is trained on, or adapted to")
    recipe: JsonObject = Field(default={}, description="train: the recipe, without its name and start")
    options: JsonObject = Field(default={}, description="project, adapt, tune: the job's other parameters")

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        check_model_name(self.name)
        if (self.model is None) == (self.start is None):
            raise ValueError(f"the release {self.name!r} starts from a model or from a step, and not from both")
        if self.make in ("adapt", "tune") and self.start is None:
            raise ValueError(f"the release {self.name!r} is made by {self.make}, which starts from a step")
        if self.make == "project" and self.model is None:
            raise ValueError(f"the release {self.name!r} is made by project, which starts from a model")
        if self.make == "train":
            start = {"release": _PLACEHOLDER} if self.model is None else {"model": self.model}
            given = self.recipe.get("model", {})
            if not isinstance(given, dict):
                raise ValueError(f"the recipe of {self.name!r} has a 'model' that is no table")
            model = {**given, **start}
            Recipe.model_validate({**self.recipe, "name": self.name, "model": model})
        return self


class EvaluationStep(_Part):
    """One evaluation, by default of every release that could be made."""

    name: str = Field(min_length=1, max_length=80)
    releases: tuple[Name, ...] = Field(min_length=1, max_length=40, description="Names of steps")
    queries: Source = Field(default="catalogue", description="Where its queries come from")
    plan: JsonObject = Field(default={}, description="The plan, without its releases")

    @model_validator(mode="after")
    def _is_a_plan(self) -> Self:
        EvaluationPlan.model_validate({**self.plan, "releases": [_PLACEHOLDER]})
        return self


class Published(_Part):
    """What was published for a release of this name, measured in this evaluation and way."""

    release: Name
    evaluation: Name
    way: Name = "plain"
    components: int | None = Field(default=None, ge=1, le=16_384)
    mean_average_precision: float
    precision_at_15: float


class Experiment(_Part):
    """Releases, evaluations, and what they are held against. A file may have a table `recipes` of recipes by name,
    which its releases then name; they are put in their places here.
    """

    number: int = Field(ge=1, le=99)
    title: str = Field(min_length=1, max_length=120)
    question: str = Field(min_length=1, max_length=1000, description="What it is to find out")
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
                raise ValueError(f"two releases are called {step.name!r}")
            if step.start is not None and step.start not in before:
                raise ValueError(f"{step.name!r} starts from {step.start!r}, which no step before it makes")
            before.add(step.name)
        return steps

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        made = {step.name for step in self.releases}
        measured = {step.name for step in self.evaluations}
        for step in self.evaluations:
            unknown = sorted(set(step.releases) - made)
            if unknown:
                raise ValueError(f"the evaluation {step.name!r} names releases that no step makes: {unknown}")
        for one in self.published:
            if one.release not in made or one.evaluation not in measured:
                raise ValueError(f"a published figure is of {one.release!r} in {one.evaluation!r}, which is not here")
        return self


def _with_recipe(step: Any, recipes: dict[str, Any]) -> Any:
    named = step.get("recipe") if isinstance(step, dict) else None
    if not isinstance(named, str):
        return step
    if named not in recipes:
        raise ValueError(f"the release {step.get('name')!r} names the recipe {named!r}, which is not in the file")
    return {**step, "recipe": recipes[named]}


class WeightsChoice(_Part):
    """The weights of a network, and the options of the architecture and the input that go with them."""

    weights: str = Field(max_length=4096)
    trained_on: str | None = Field(default=None, max_length=200, description="What they were trained on, in your words")
    options: Options = {}


def parse_experiment(content: object) -> Experiment:
    """An experiment out of parsed TOML or JSON. Raises ParameterInvalid, naming each field that is wrong."""
    return parse_as(Experiment, content, what="experiment")


def read_experiment(path: Path) -> Experiment:
    """An experiment file. Raises ParameterInvalid where it is not there, is no TOML or no experiment."""
    return parse_experiment(read_toml(path, what="experiment"))
