"""Parse the options of searches from forms and queries. Any other name is a filter, which is checked later against the
fields of the collection.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from starlette.requests import Request

from vitrine.errors import BodyInvalid, ParameterInvalid
from vitrine.images.regions import Region, parse_region
from vitrine.images.views import MAX_CROPS, views_text
from vitrine.parsing import message_of
from vitrine.web.problems import MAX_FAULT_CHARS

MAX_REACH: Final = 1_000  # of offset + topK: the limit of a collection's strict mode
_MAX_GROUPS: Final = 500
_MAX_FUSED: Final = 200
MAX_GARMENTS: Final = 8
# Garments that a parser is less sure of are wrong more often than not (docs/experiments/people.md).
LEAST_PROBABILITY: Final = 0.5
_MAX_OF_GARMENT: Final = 100
MAX_FACETS: Final = 8
MAX_EXPAND: Final = 50
MAX_RERANK: Final = 500
MAX_FACET_FIELDS: Final = 16
_MAX_FAULTS_TOLD: Final = 20
_GARMENT_NUMBER: Final = re.compile(r"[0-9]{1,2}")

Pairs = list[tuple[str, str]]


class Target(BaseModel):
    """The model and dataset of a call."""

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
    """The options of every call that returns a list of products."""

    top_k: int = Field(default=15, ge=1, le=MAX_REACH, alias="topK", description="How many products")
    offset: int = Field(
        default=0,
        ge=0,
        lt=MAX_REACH,
        description=f"Leave out the first so many. With topK at most {MAX_REACH:,}; {_MAX_GROUPS} with groupBy",
    )
    min_score: float | None = Field(
        default=None,
        ge=-1.0,
        le=1.0,
        allow_inf_nan=False,
        alias="minScore",
        description="Leave out products whose cosine similarity is lower",
    )
    group_by: str | None = Field(
        default=None,
        max_length=64,
        alias="groupBy",
        description=(
            "At most one product for each value of this field, of any kind but dates and free text. Products without a "
            "value are left out"
        ),
    )
    variants: Literal["one", "all"] = Field(
        default="one",
        description=(
            "Where the catalogue has variants of products, such as colours or sizes: `one` finds one of each product, "
            "the one that is nearest to the query, and counts products; `all` finds and counts each variant"
        ),
    )
    facets: str = Field(
        default="",
        max_length=600,
        description=(
            f"Up to {MAX_FACETS} fields, separated by commas, whose values are counted among the matches that are at "
            "least `minConfidence` likely, or else among the best 200. A field's own filter is left out of its counts. "
            "With `variants=one` a product counts once for each value that any of its variants has"
        ),
        examples=["gender,articleType"],
    )

    @property
    def one_of_each(self) -> bool:
        return self.variants == "one"

    @property
    def facet_fields(self) -> list[str]:
        return list(dict.fromkeys(name.strip() for name in self.facets.split(",") if name.strip()))

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        most = MAX_REACH if self.group_by is None else _MAX_GROUPS
        if self.offset + self.top_k > most:
            raise ValueError(
                f"offset and topK are at most {most} together" + ("" if most == MAX_REACH else ", with groupBy")
            )
        if len(self.facet_fields) > MAX_FACETS:
            raise ValueError(f"at most {MAX_FACETS} facets")
        return self


class MatchOptions(ListOptions):
    """The options of a search whose scores are similarities to one picture."""

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


class PartOptions(Target):
    """The options of a call about a picture, or a part of it."""

    region: str | None = Field(
        default=None,
        max_length=200,
        description=(
            "A part of the picture in place of all of it: x,y,width,height, as fractions of the upright picture from "
            "its top left; or the number of a garment as POST /api/regions counts them, which is cut out along its "
            "outline; a search filters by its kind"
        ),
        examples=["0.25,0.1,0.5,0.6"],
    )

    @field_validator("region")
    @classmethod
    def _region(cls, text: str | None) -> str | None:
        if text is not None and not _GARMENT_NUMBER.fullmatch(text):
            try:
                parse_region(text)
            except ParameterInvalid as error:
                raise ValueError(f"{error.detail}; or give the number of a garment") from None
        return text

    @property
    def picture_region(self) -> Region | None:
        """The part of the picture to search with; None for the whole, or for a garment."""
        return None if self.region is None or self.garment is not None else parse_region(self.region)

    @property
    def garment(self) -> int | None:
        """The number of the garment to search with."""
        is_number = self.region is not None and _GARMENT_NUMBER.fullmatch(self.region)
        return int(self.region or "") if is_number else None


class SearchOptions(MatchOptions, PartOptions):
    """The options of a search by picture."""

    regions: Literal["auto"] | None = Field(
        default=None,
        description=(
            f"`auto` searches with each garment that is found in the picture, up to {MAX_GARMENTS}: `garments` has a "
            "ranking for each, with the filters of its kind. Where no garment is found, the whole picture is searched"
        ),
    )
    min_probability: float = Field(
        default=LEAST_PROBABILITY,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        alias="minProbability",
        description=(
            "With `regions=auto`: leave out garments that the parser is less sure of. POST /api/regions answers all of "
            "them with their `probability`"
        ),
    )
    kind_filters: bool = Field(
        default=True,
        alias="kindFilters",
        description=(
            "Whether a garment finds products of its kind only, such as shoes, where the dataset has the attribute. A "
            "filter by the same attribute replaces it"
        ),
    )
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
            "Search with the garment alone, cut out along the outline that a parser finds and put on white: the most "
            "prominent one, or within `region` the one that covers it best. What stands on white already stays as it is"
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
            raise ValueError("rerank and groupBy cannot be combined")
        if self.fuse is not None and (self.rerank or self.expand or self.group_by is not None):
            raise ValueError(
                "fuse can be combined with cutout, flip and crops only, not with expand, rerank or groupBy"
            )
        if self.fuse is not None and self.offset + self.top_k > _MAX_FUSED:
            raise ValueError(f"offset and topK are at most {_MAX_FUSED} together, with fuse")
        if self.fuse is not None and self.garment is not None:
            raise ValueError("fuse cannot be combined with the number of a garment: give its box as 'region'")
        return self

    @model_validator(mode="after")
    def _suits_garments(self) -> Self:
        if self.regions is None:
            return self
        given = {
            "region": self.region is not None,
            "cutout": self.cutout,
            "crops": self.crops > 0,
            "expand": self.expand > 0,
            "rerank": self.rerank > 0,
            "fuse": self.fuse is not None,
            "offset": self.offset > 0,
        }
        refused = [name for name, is_given in given.items() if is_given]
        if refused:
            raise ValueError(
                f"regions=auto cannot be combined with {', '.join(refused)}: search one garment with region=NUMBER"
            )
        if self.top_k > _MAX_OF_GARMENT:
            raise ValueError(f"topK is at most {_MAX_OF_GARMENT} with regions=auto")
        return self

    @property
    def views(self) -> str:
        """The search variants as the embedder names them; empty for the plain picture."""
        if not (self.flip or self.crops or self.cutout):
            return ""
        return views_text(flip=self.flip, crops=self.crops, cutout=self.cutout and self.garment is None)


class FacetOptions(Target):
    """The options of a facet count."""

    limit: int = Field(default=50, ge=1, le=1000, description="Values told of each field, the commonest first")
    under: str | None = Field(
        default=None,
        max_length=1000,
        description=(
            "Of category paths only the levels right below this one, such as `Clothing` or `Clothing > Dresses`; "
            "empty: the top levels. By default all levels"
        ),
        examples=["Clothing"],
    )


OptionsT = TypeVar("OptionsT", bound=Target)


def split_options(pairs: Iterable[tuple[str, str]], kind: type[OptionsT]) -> tuple[OptionsT, Pairs]:
    """(options of `kind`, the other pairs, which are filters).

    Raises ParameterInvalid with every invalid or repeated option.
    """
    names = {field.alias or name for name, field in kind.model_fields.items()}
    given: dict[str, str] = {}
    rest: Pairs = []
    for name, value in pairs:
        if name not in names:
            meant = _option_meant(name, names)
            if meant is not None:
                raise ParameterInvalid(f"{name!r} is not an option of this call: did you mean {meant!r}?")
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


def only_options(pairs: Iterable[tuple[str, str]], kind: type[OptionsT]) -> OptionsT:
    """The options of `kind`, of a call that takes no filters. Raises ParameterInvalid, also for any other name."""
    options, rest = split_options(pairs, kind)
    if rest:
        raise ParameterInvalid(f"{rest[0][0][:80]!r} is not a field of this call, which has no filters")
    return options


def _option_meant(name: str, names: Collection[str]) -> str | None:
    """The option that differs from the name only in upper and lower case. No filter has such a name."""
    lowered = name.lower()
    if lowered == "limit" and "topK" in names:
        return "topK"
    return next((option for option in names if option.lower() == lowered), None)


def read_facets(request: Request) -> tuple[list[str], FacetOptions, Pairs]:
    """(the fields to count, the options, the filters). Raises ParameterInvalid."""
    pairs = request.query_params.multi_items()
    fields = list(dict.fromkeys(value for name, value in pairs if name == "field"))
    if not 0 < len(fields) <= MAX_FACET_FIELDS:
        raise ParameterInvalid(f"name 1 to {MAX_FACET_FIELDS} fields with 'field'")
    options, filters = split_options([pair for pair in pairs if pair[0] != "field"], FacetOptions)
    return fields, options, filters


def parameter_invalid(error: ValidationError) -> ParameterInvalid:
    """Convert a pydantic error about parameters."""
    faults = _faults(error)
    return ParameterInvalid(_summary(faults), errors=faults)


def body_invalid(error: ValidationError) -> BodyInvalid:
    """Convert a pydantic error about a JSON body."""
    faults = _faults(error)
    return BodyInvalid(_summary(faults), errors=faults)


def _faults(error: ValidationError) -> list[dict[str, str]]:
    return [
        {
            "where": (".".join(str(part) for part in fault["loc"]) or "body")[:MAX_FAULT_CHARS],
            "message": message_of(fault),
        }
        for fault in error.errors()[:_MAX_FAULTS_TOLD]
    ]


def _summary(faults: list[dict[str, str]]) -> str:
    return "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults)
