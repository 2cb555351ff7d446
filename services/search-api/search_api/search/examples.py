"""Parse the examples of a recommendation from JSON or a form: liked and disliked products and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import ConfigDict, Field, ValidationError
from starlette.requests import Request

from search_api.search.options import ListOptions, Pairs, body_invalid, split_options
from search_api.search.uploads import Uploads
from vitrine.errors import ImageRejected, MediaTypeUnsupported, ParameterInvalid
from vitrine.kinds import text_of
from vitrine.web import is_json, media_type, parse_json, read_form, read_json_bytes

MAX_EXAMPLES: Final = 64
MAX_EXAMPLE_PICTURES: Final = 16
_PICTURE_FIELDS: Final = frozenset({"positiveImage", "negativeImage"})
_ID_FIELDS: Final = frozenset({"positive", "negative", "positiveUpload", "negativeUpload"})
_FilterValue = bool | str | int | float | None


class RecommendBody(ListOptions):
    """Examples by id."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"positive": [7747, 12203], "negative": [1163], "topK": 10}]},
    )

    positive: list[str | int] = Field(default=[], max_length=MAX_EXAMPLES, description="Ids of liked products")
    negative: list[str | int] = Field(default=[], max_length=MAX_EXAMPLES, description="Ids of disliked products")
    positive_upload: list[str] = Field(
        default=[], max_length=MAX_EXAMPLE_PICTURES, alias="positiveUpload", description="Ids of liked uploads"
    )
    negative_upload: list[str] = Field(
        default=[], max_length=MAX_EXAMPLE_PICTURES, alias="negativeUpload", description="Ids of disliked uploads"
    )
    filters: dict[str, _FilterValue | list[_FilterValue]] = Field(
        default={},
        description="Filter fields as in a search; a list means any of, null without a value",
        examples=[{"gender": ["Women"]}],
    )

    def filter_pairs(self) -> Pairs:
        """The filters as (name, value) pairs."""
        return [
            (name, "" if value is None else text_of(value))
            for name, values in self.filters.items()
            for value in (values if isinstance(values, list) else [values])
        ]


@dataclass(frozen=True, slots=True)
class Examples:
    """The liked and disliked ids and pictures of a recommendation."""

    options: ListOptions
    filters: Pairs
    positive: list[str]
    negative: list[str]
    positive_pictures: list[bytes]
    negative_pictures: list[bytes]


async def read_examples(request: Request, uploads: Uploads) -> Examples:
    """Parse the request.

    Raises BodyInvalid, ParameterInvalid, UploadNotFound, MediaTypeUnsupported.
    """
    if is_json(request):
        try:
            body = RecommendBody.model_validate(parse_json(await read_json_bytes(request)))
        except ValidationError as error:
            raise body_invalid(error) from None
        examples = Examples(
            options=body,
            filters=body.filter_pairs(),
            positive=[str(name) for name in body.positive],
            negative=[str(name) for name in body.negative],
            positive_pictures=[await uploads.get(name) for name in body.positive_upload],
            negative_pictures=[await uploads.get(name) for name in body.negative_upload],
        )
        _check(examples)
        return examples
    if media_type(request) != "multipart/form-data":
        raise MediaTypeUnsupported("this call takes application/json or multipart/form-data")
    form = await read_form(request)
    pairs = list(form.fields(except_for=_PICTURE_FIELDS))
    options, filters = split_options([pair for pair in pairs if pair[0] not in _ID_FIELDS], ListOptions)
    examples = Examples(
        options=options,
        filters=filters,
        positive=[value for name, value in pairs if name == "positive"],
        negative=[value for name, value in pairs if name == "negative"],
        positive_pictures=[
            *form.pictures("positiveImage"),
            *[await uploads.get(value) for name, value in pairs if name == "positiveUpload"],
        ],
        negative_pictures=[
            *form.pictures("negativeImage"),
            *[await uploads.get(value) for name, value in pairs if name == "negativeUpload"],
        ],
    )
    _check(examples)
    return examples


def _check(examples: Examples) -> None:
    if not examples.positive and not examples.positive_pictures:
        raise ParameterInvalid("give at least one liked product ('positive') or picture ('positiveImage')")
    if len(examples.positive) > MAX_EXAMPLES or len(examples.negative) > MAX_EXAMPLES:
        raise ParameterInvalid(f"at most {MAX_EXAMPLES} ids of each kind")
    pictures = [*examples.positive_pictures, *examples.negative_pictures]
    if len(pictures) > MAX_EXAMPLE_PICTURES:
        raise ParameterInvalid(f"at most {MAX_EXAMPLE_PICTURES} pictures")
    if not all(pictures):
        raise ImageRejected("empty", "a picture file is empty")
