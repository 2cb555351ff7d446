"""The options and inputs of searches. Form fields and query parameters say the same things; whatever is not an option
is a filter, checked later against the fields of the collection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request

from vitrine.errors import BodyInvalid, ImageRejected, MediaTypeUnsupported, ParameterInvalid
from vitrine.views import MAX_CROPS, views_text
from vitrine.web import is_json, media_type, parse_json, read_form, read_json_bytes
from vitrine.web.problems import MAX_FAULT_CHARS

MAX_TOP_K: Final = 200
MAX_EXPAND: Final = 50
MAX_RERANK: Final = 500
MAX_EXAMPLES: Final = 64
MAX_EXAMPLE_PICTURES: Final = 16
MAX_FACET_FIELDS: Final = 16
PICTURE_FIELD: Final = "image"
_EXAMPLE_PICTURES: Final = frozenset({"positiveImage", "negativeImage"})
_EXAMPLE_IDS: Final = frozenset({"positive", "negative"})
_MAX_FAULTS_TOLD: Final = 20

Pairs = list[tuple[str, str]]
_FilterValue = str | int | float


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


class FacetOptions(Target):
    """How many values of a field to tell."""

    limit: int = Field(default=50, ge=1, le=1000, description="Values told of each field, the commonest first")


class RecommendBody(ListOptions):
    """Examples by id."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"positive": [7747, 12203], "negative": [1163], "topK": 10}]},
    )

    positive: list[str | int] = Field(min_length=1, max_length=MAX_EXAMPLES, description="Ids of liked products")
    negative: list[str | int] = Field(default=[], max_length=MAX_EXAMPLES, description="Ids of disliked products")
    filters: dict[str, _FilterValue | list[_FilterValue]] = Field(
        default={}, description="Filter fields as in a search; a list means any of", examples=[{"gender": ["Women"]}]
    )

    def filter_pairs(self) -> Pairs:
        """The filters as the pairs that a form would hold."""
        return [
            (name, str(value))
            for name, values in self.filters.items()
            for value in (values if isinstance(values, list) else [values])
        ]


@dataclass(frozen=True, slots=True)
class Examples:
    """What a recommendation starts from: ids and pictures, liked and disliked."""

    options: ListOptions
    filters: Pairs
    positive: list[str]
    negative: list[str]
    positive_pictures: list[bytes]
    negative_pictures: list[bytes]


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


async def read_search(request: Request) -> tuple[bytes, SearchOptions, Pairs]:
    """(the picture, the options, the filters) of a search by picture. Raises ImageMissing, ImageRejected for an empty
    file, MediaTypeUnsupported and ParameterInvalid.
    """
    form = await read_form(request)
    fields = form.fields(except_for=frozenset({PICTURE_FIELD}))
    options, filters = split_options([*request.query_params.multi_items(), *fields], SearchOptions)
    picture = form.one_picture(PICTURE_FIELD)
    if not picture:
        raise ImageRejected("empty", "the picture file is empty")
    return picture, options, filters


def read_facets(request: Request) -> tuple[list[str], FacetOptions, Pairs]:
    """(the fields to count, the options, the filters). Raises ParameterInvalid."""
    pairs = request.query_params.multi_items()
    fields = list(dict.fromkeys(value for name, value in pairs if name == "field"))
    if not 0 < len(fields) <= MAX_FACET_FIELDS:
        raise ParameterInvalid(f"name 1 to {MAX_FACET_FIELDS} fields with 'field'")
    options, filters = split_options([pair for pair in pairs if pair[0] != "field"], FacetOptions)
    return fields, options, filters


async def read_examples(request: Request) -> Examples:
    """The examples of a recommendation, from JSON or a form.

    Raises BodyInvalid, ParameterInvalid, MediaTypeUnsupported.
    """
    if is_json(request):
        try:
            body = RecommendBody.model_validate(parse_json(await read_json_bytes(request)))
        except ValidationError as error:
            raise body_invalid(error) from None
        positive, negative = ([str(name) for name in names] for names in (body.positive, body.negative))
        return Examples(body, body.filter_pairs(), positive, negative, [], [])
    if media_type(request) != "multipart/form-data":
        raise MediaTypeUnsupported("this call takes application/json or multipart/form-data")
    form = await read_form(request)
    pairs = list(form.fields(except_for=_EXAMPLE_PICTURES))
    options, filters = split_options([pair for pair in pairs if pair[0] not in _EXAMPLE_IDS], ListOptions)
    examples = Examples(
        options=options,
        filters=filters,
        positive=[value for name, value in pairs if name == "positive"],
        negative=[value for name, value in pairs if name == "negative"],
        positive_pictures=form.pictures("positiveImage"),
        negative_pictures=form.pictures("negativeImage"),
    )
    _check(examples)
    return examples


def _check(examples: Examples) -> None:
    if not examples.positive and not examples.positive_pictures:
        raise ParameterInvalid("give at least one liked product ('positive') or picture ('positiveImage')")
    if len(examples.positive) > MAX_EXAMPLES or len(examples.negative) > MAX_EXAMPLES:
        raise ParameterInvalid(f"at most {MAX_EXAMPLES} ids of either kind")
    pictures = [*examples.positive_pictures, *examples.negative_pictures]
    if len(pictures) > MAX_EXAMPLE_PICTURES:
        raise ParameterInvalid(f"at most {MAX_EXAMPLE_PICTURES} pictures")
    if not all(pictures):
        raise ImageRejected("empty", "a picture file is empty")


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
