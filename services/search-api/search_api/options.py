"""The options of a search, told apart from its filters. Form fields and query parameters say the same things; whatever
is not an option is a filter, checked later against the fields the collection has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vitrine.errors import BodyInvalid, ParameterInvalid
from vitrine.views import MAX_CROPS, views_text
from vitrine.web.problems import MAX_FAULT_CHARS

MAX_TOP_K: Final = 200
MAX_EXPAND: Final = 50
MAX_RERANK: Final = 500
_MAX_FAULTS_TOLD: Final = 20

Pairs = list[tuple[str, str]]


class Target(BaseModel):
    """Which products a call is about."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: str | None = Field(
        default=None,
        max_length=120,
        description="The model; may be left out where one model serves the dataset",
        examples=["mobilenetv2_100"],
    )
    dataset: str | None = Field(
        default=None,
        max_length=120,
        description="The dataset; may be left out where one is configured or only one is served",
        examples=["fashion-product"],
    )


class ListOptions(Target):
    """How many products to find, and which to leave out."""

    top_k: int = Field(default=15, ge=1, le=MAX_TOP_K, alias="topK", description="How many products")
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        allow_inf_nan=False,
        alias="minScore",
        description="Leave out products whose cosine similarity is lower",
    )
    group_by: str | None = Field(
        default=None, max_length=64, alias="groupBy", description="At most one product for each value of this field"
    )


class MatchOptions(ListOptions):
    """The options of a search whose scores are likenesses to one picture."""

    min_confidence: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        alias="minConfidence",
        description=(
            "Leave out products that are less likely of the query's kind, by the release's calibration; where none is "
            "left, the answer has no results, as for a picture that shows nothing of the catalogue's kind"
        ),
    )


class SearchOptions(MatchOptions):
    """The options of a search by picture."""

    expand: int = Field(
        default=0,
        ge=0,
        le=MAX_EXPAND,
        description="Query expansion: search again with the mean of the query and its nearest so many products",
    )
    expand_alpha: float = Field(
        default=0.0,
        ge=0.0,
        le=20.0,
        allow_inf_nan=False,
        alias="expandAlpha",
        description="Weigh each of them by its score to this power",
    )
    flip: bool = Field(default=False, description="Search with the mean of the picture and its mirror image")
    crops: int = Field(
        default=0,
        ge=0,
        le=MAX_CROPS,
        description="Search with the mean of the picture and so many closer cuts, the middle first, then the corners",
    )
    cutout: bool = Field(
        default=False,
        description=(
            "Search with the garment alone, cut out of its background and put on white: for people's own photographs "
            "where the catalogue's pictures stand on white. What stands on white already stays as it is"
        ),
    )
    rerank: int = Field(
        default=0,
        ge=0,
        le=MAX_RERANK,
        description="Rank the first so many anew by the neighbours they share; their scores stay those of the search",
    )
    fuse: str | None = Field(
        default=None,
        max_length=120,
        description="A second model of the dataset, whose cosines are added; the sum is then the score",
    )
    fuse_weight: float = Field(
        default=0.5, ge=0.0, le=1.0, allow_inf_nan=False, alias="fuseWeight", description="Its share of the sum"
    )

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.rerank and self.group_by is not None:
            raise ValueError("rerank and groupBy do not go together")
        if self.fuse is not None and (self.rerank or self.expand or self.group_by is not None):
            raise ValueError("fuse goes with cutout, flip and crops alone, not with expand, rerank or groupBy")
        return self

    @property
    def views(self) -> str:
        """How the picture is looked at, as the embedder is asked."""
        return views_text(flip=self.flip, crops=self.crops, garment_alone=self.cutout)


OptionsT = TypeVar("OptionsT", bound=Target)


def split_options(pairs: Iterable[tuple[str, str]], kind: type[OptionsT]) -> tuple[OptionsT, Pairs]:
    """(options of `kind`, the other pairs, which are filters).

    Raises ParameterInvalid naming each option that is wrong, or that is there twice.
    """
    names = {field.alias or name for name, field in kind.model_fields.items()}
    given: dict[str, str] = {}
    rest: Pairs = []
    for name, value in pairs:
        if name not in names:
            rest.append((name, value))
        elif name in given:
            raise ParameterInvalid(f"{name!r} is given more than once")
        else:
            given[name] = value
    try:
        options = kind.model_validate(given)
    except ValidationError as error:
        raise parameter_invalid(error) from None
    return options, rest


def parameter_invalid(error: ValidationError) -> ParameterInvalid:
    """A pydantic error about parameters as an error of ours, naming each parameter."""
    faults = _faults(error)
    return ParameterInvalid(_summary(faults), errors=faults)


def body_invalid(error: ValidationError) -> BodyInvalid:
    """A pydantic error about a JSON body as an error of ours, naming each member."""
    faults = _faults(error)
    return BodyInvalid(_summary(faults), errors=faults)


def _faults(error: ValidationError) -> list[dict[str, str]]:
    return [
        {"where": (".".join(str(part) for part in fault["loc"]) or "body")[:MAX_FAULT_CHARS], "message": fault["msg"]}
        for fault in error.errors()[:_MAX_FAULTS_TOLD]
    ]


def _summary(faults: list[dict[str, str]]) -> str:
    return "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
