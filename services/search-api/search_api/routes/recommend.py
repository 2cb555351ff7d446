"""More like these and less like those: liked and disliked products of the catalogue, and pictures of one's own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field, ValidationError
from qdrant_client import models
from starlette.responses import Response

from search_api.answers import JsonAnswer, search_answer
from search_api.context import Context, Ctx
from search_api.forms import media_type, read_form
from search_api.looking import opaque_caller
from search_api.options import ListOptions, Pairs, body_invalid, split_options
from search_api.retrieval import Wanted
from search_api.routes.documents import PICTURE_ERRORS, SEARCH_ERRORS, filter_form, picture_schema
from search_api.schemas import SearchAnswer
from vitrine.collections import Serving
from vitrine.errors import (
    BodyInvalid,
    ImageRejected,
    MediaTypeUnsupported,
    ParameterInvalid,
    ProductNotFound,
    VitrineError,
)
from vitrine.web import is_json, parse_json, problem_responses, read_json_bytes, requires

MAX_EXAMPLES: Final = 64
MAX_PICTURES: Final = 16
_PICTURE_FIELDS: Final = frozenset({"positiveImage", "negativeImage"})
_ID_FIELDS: Final = frozenset({"positive", "negative"})
_FilterValue = str | int | float
router = APIRouter(tags=["search"])


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
class _Examples:
    options: ListOptions
    filters: Pairs
    positive: list[str]
    negative: list[str]
    positive_pictures: list[bytes]
    negative_pictures: list[bytes]


def _schema_of_body() -> dict[str, Any]:
    return RecommendBody.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")


def _form_schema() -> dict[str, Any]:
    def several(item: dict[str, Any], most: int) -> dict[str, Any]:
        return {"type": "array", "items": item, "maxItems": most}

    return filter_form(
        {
            "positive": several({"type": "string", "description": "Id of a liked product"}, MAX_EXAMPLES),
            "negative": several({"type": "string", "description": "Id of a disliked product"}, MAX_EXAMPLES),
            "positiveImage": several(picture_schema("A liked picture."), MAX_PICTURES),
            "negativeImage": several(picture_schema("A disliked picture."), MAX_PICTURES),
        },
        required=[],
        options=ListOptions,
    )


@router.post(
    "/api/recommend",
    summary="Find products like some examples and unlike others",
    description=(
        "Examples are ids of the catalogue (JSON or form) and pictures (form only); at least one must be liked. The "
        "query is the mean of the liked, moved away from the mean of the disliked. The examples are left out."
    ),
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PICTURE_ERRORS, BodyInvalid, ProductNotFound),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _schema_of_body()},
                "multipart/form-data": _form_schema(),
            },
        },
    },
)
@requires("search")
async def recommend(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    examples = await _read_examples(request)

    caller = opaque_caller(request)

    async def in_serving(serving: Serving) -> Response:
        return await _recommend_in(context, serving, examples, caller=caller, started_s=started_s)

    return await context.retrieval.in_serving(examples.options, in_serving)


async def _recommend_in(
    context: Context, serving: Serving, examples: _Examples, *, caller: str, started_s: float
) -> Response:
    prepared = await context.retrieval.prepare(serving, examples.filters, group_by=examples.options.group_by)
    embedding_started_s = time.perf_counter()
    pictures = [*examples.positive_pictures, *examples.negative_pictures]
    deadline_s = context.settings.request_timeout_s - (embedding_started_s - started_s)
    plan, points, (vectors, decode_ms) = await asyncio.gather(
        context.retrieval.plan(prepared),
        context.products.point_ids(serving, [*examples.positive, *examples.negative]),
        _vectors(context, serving, pictures, caller=caller, deadline_s=deadline_s),
    )
    liked_ids, liked_pictures = len(examples.positive), len(examples.positive_pictures)
    query = models.RecommendQuery(
        recommend=models.RecommendInput(
            positive=[*points[:liked_ids], *vectors[:liked_pictures]],
            negative=[*points[liked_ids:], *vectors[liked_pictures:]],
            strategy=models.RecommendStrategy.AVERAGE_VECTOR,
        )
    )
    searching_started_s = time.perf_counter()
    options = examples.options
    found = await context.retrieval.nearest(
        prepared, query, Wanted(options.top_k, options.min_score, options.group_by), plan=plan
    )
    found_s = time.perf_counter()
    embedding_ms = (searching_started_s - embedding_started_s) * 1e3 if pictures else 0.0
    took_ms = {
        "decode": decode_ms,
        "embed": max(0.0, embedding_ms - decode_ms),
        "search": (found_s - searching_started_s) * 1e3,
        "total": (found_s - started_s) * 1e3,
    }
    return JsonAnswer(search_answer(serving, found, plan=plan, took_ms=took_ms))


async def _vectors(
    context: Context, serving: Serving, pictures: list[bytes], *, caller: str, deadline_s: float
) -> tuple[list[list[float]], float]:
    """(a vector for each picture, the milliseconds of decoding), from one call. Raises the first picture's error."""
    if not pictures:
        return [], 0.0
    results, timings_ms = await context.embedder.embed_batch(
        pictures, release_id=serving.release_id, caller=caller, deadline_s=deadline_s
    )
    vectors = []
    for result in results:
        if isinstance(result, VitrineError):
            raise result
        vectors.append(result.tolist())
    return vectors, timings_ms.get("decode", 0.0)


async def _read_examples(request: Request) -> _Examples:
    if is_json(request):
        try:
            body = RecommendBody.model_validate(parse_json(await read_json_bytes(request)))
        except ValidationError as error:
            raise body_invalid(error) from None
        positive, negative = ([str(name) for name in names] for names in (body.positive, body.negative))
        return _Examples(body, body.filter_pairs(), positive, negative, [], [])
    if media_type(request) != "multipart/form-data":
        raise MediaTypeUnsupported("this call takes application/json or multipart/form-data")
    form = await read_form(request)
    pairs = list(form.fields(except_for=_PICTURE_FIELDS))
    options, filters = split_options([pair for pair in pairs if pair[0] not in _ID_FIELDS], ListOptions)
    examples = _Examples(
        options=options,
        filters=filters,
        positive=[value for name, value in pairs if name == "positive"],
        negative=[value for name, value in pairs if name == "negative"],
        positive_pictures=form.pictures("positiveImage"),
        negative_pictures=form.pictures("negativeImage"),
    )
    _check(examples)
    return examples


def _check(examples: _Examples) -> None:
    if not examples.positive and not examples.positive_pictures:
        raise ParameterInvalid("give at least one liked product ('positive') or picture ('positiveImage')")
    if len(examples.positive) > MAX_EXAMPLES or len(examples.negative) > MAX_EXAMPLES:
        raise ParameterInvalid(f"at most {MAX_EXAMPLES} ids of either kind")
    pictures = [*examples.positive_pictures, *examples.negative_pictures]
    if len(pictures) > MAX_PICTURES:
        raise ParameterInvalid(f"at most {MAX_PICTURES} pictures")
    if not all(pictures):
        raise ImageRejected("empty", "a picture file is empty")
