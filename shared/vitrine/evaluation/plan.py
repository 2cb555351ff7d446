"""Evaluation plans: what to measure, of which releases, by which protocol. Written as TOML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vitrine.evaluation.evaluate import Metric
from vitrine.images.views import MAX_CROPS, View, views
from vitrine.parsing import parse_as, read_toml, without_catalog
from vitrine.products import check_attribute_name
from vitrine.recipes import DataRecipe
from vitrine.types import Name

Gallery = Literal["all", "unseen"]
Protocol = Literal["strict", "reference", "faults"]
# The metrics and the gallery of the protocol `faults`: the original system had no others.
_FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "galleries": ("all",),
    "measures": ("average_precision", "precision@15"),
}
ReleaseId = Annotated[str, Field(min_length=1, max_length=140)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Way(_Part):
    """A search variant to measure: the plain search, with any of these options."""

    name: str = Field(min_length=1, max_length=60, description="What the report calls it")
    flip: bool = Field(default=False, description="The query's vector is the mean of the picture's and its mirror's")
    crops: int = Field(default=0, ge=0, le=MAX_CROPS, description="Closer cuts of the query in the mean, middle first")
    cutout: bool = Field(
        default=False, description="The query is its most prominent garment alone, cut out and put on white"
    )
    augment: int = Field(default=0, ge=0, le=200, description="Neighbours that smooth each vector of the gallery")
    augment_alpha: float = Field(default=0.0, ge=0, le=20, description="Power of a neighbour's score that weighs it")
    expand: int = Field(default=0, ge=0, le=200, description="Neighbours that the query is expanded by")
    expand_alpha: float = Field(default=0.0, ge=0, le=20, description="Power of a neighbour's score that weighs it")
    rerank: int = Field(default=0, ge=0, le=2000, description="Candidates re-ranked by their reciprocal neighbours")
    fuse: ReleaseId | None = Field(default=None, description="A second release whose cosines are added")
    fuse_weight: float = Field(default=0.5, ge=0, le=1, description="The second release's share of the sum")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.fuse is not None and (self.rerank or self.expand or self.augment):
            raise ValueError(f"the way {self.name!r} fuses two releases: that goes with cutout, flip and crops alone")
        return self

    @property
    def views(self) -> tuple[View, ...]:
        """The views of the query's picture that are embedded."""
        return views(flip=self.flip, crops=self.crops, cutout=self.cutout)


PLAIN = Way(name="plain")


class EvaluationPlan(_Part):
    """What to measure, of which releases, on which part of a catalogue, by which protocol.

    `strict`: the query is never in its gallery, the projection is the release's own, and nothing was selected on the
    reported part. `reference`: as the original system measured, with its faults, so that the results can be compared.
    `faults`: an ablation from `reference` to `strict`, which corrects one fault in each step.
    """

    releases: tuple[ReleaseId, ...] = Field(min_length=1, max_length=20, description="The releases, in order")
    protocol: Protocol = Field(default="strict", description="How it is measured")
    galleries: tuple[Gallery, ...] = Field(
        default=("all", "unseen"),
        min_length=1,
        max_length=2,
        description="all: every product; unseen: the measured part alone, of which training saw nothing",
    )
    part: Literal["test", "validation"] = Field(default="test", description="Where the queries come from")
    queries: int = Field(default=600, ge=1, le=1_000_000, description="Most queries, drawn by the seed")
    queries_per_kind: int | None = Field(default=None, ge=1, le=1_000_000, description="Most queries of each class")
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        description=(
            "Of the split and the queries. By default the split is that of the first release which has one stored, and "
            "the queries are drawn by 0"
        ),
    )
    data: DataRecipe = Field(default=DataRecipe(), description="Which products, their split and their relevance")
    graded: tuple[Name, ...] = Field(
        default=("articleType", "gender", "baseColour"),
        min_length=1,
        max_length=8,
        description="Attributes that nDCG counts, the kind of thing first",
    )
    within: tuple[Name, ...] = Field(
        default=(), max_length=8, description="Search only among products that equal the query in these attributes"
    )
    measures: tuple[Name, ...] = Field(
        default=("average_precision", "precision@15", "recall@1", "reciprocal_rank", "r_precision", "ndcg@15"),
        min_length=1,
        max_length=20,
        description="By name, e.g. average_precision, precision@15, recall@1, ndcg@15",
    )
    parser: ReleaseId | None = Field(
        default=None,
        description="The release that finds the garments which a way cuts out; the newest parser, if absent",
    )
    ways: tuple[Way, ...] = Field(default=(PLAIN,), min_length=1, max_length=40, description="Ways of searching")

    @model_validator(mode="before")
    @classmethod
    def _of_faults(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("protocol") == "faults":
            return {**_FAULTS, **content}
        return content

    @model_validator(mode="after")
    def _faults_are_fixed(self) -> Self:
        if self.protocol != "faults":
            return self
        for name, only in _FAULTS.items():
            if getattr(self, name) != only:
                raise ValueError(f"the protocol faults has its own {name}, {', '.join(only)}: leave them out")
        if self.ways != (PLAIN,) or self.within or self.part != "test":
            raise ValueError("the protocol faults has its own ways and queries: leave out ways, within and part")
        return self

    @property
    def drawn_by(self) -> int:
        """The seed of the queries."""
        return self.seed or 0

    @field_validator("measures")
    @classmethod
    def _measures(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            Metric.named(name)
        return names

    @field_validator("graded", "within")
    @classmethod
    def _attributes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_attribute_name(name) for name in names)

    @field_validator("ways")
    @classmethod
    def _unique_names(cls, ways: tuple[Way, ...]) -> tuple[Way, ...]:
        names = [way.name for way in ways]
        if len(set(names)) < len(names):
            raise ValueError("two ways have the same name")
        return ways


def read_plan_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a plan file: (the plan, not yet validated; its `catalog` table, empty if it has none).

    Raises ParameterInvalid if the file does not exist or is not TOML.
    """
    return without_catalog(read_toml(path, what="plan"), path, what="plan")


def parse_plan(content: object) -> EvaluationPlan:
    """A plan from parsed TOML or JSON. Raises ParameterInvalid, naming each invalid field."""
    return parse_as(EvaluationPlan, content, what="plan")
