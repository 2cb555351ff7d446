"""The routes of searches: by picture, by product, by examples; facet counts; uploads of query pictures."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.auth import opaque_caller
from search_api.context import Ctx
from search_api.openapi import (
    COMMON_ERRORS,
    FILTER_PARAMETER,
    PARSER_ERRORS,
    PICTURE_ERRORS,
    SEARCH_ERRORS,
    UPLOAD_SCHEMA,
    filter_form,
    form_body,
    picture_schema,
    query_parameters,
)
from search_api.products.schemas import ProductId
from search_api.search.examples import MAX_EXAMPLE_PICTURES, MAX_EXAMPLES, RecommendBody, read_examples
from search_api.search.options import (
    MAX_FACET_FIELDS,
    FacetOptions,
    ListOptions,
    MatchOptions,
    SearchOptions,
    Target,
    only_options,
    read_facets,
    split_options,
)
from search_api.search.query_embedding import Asked
from search_api.search.query_picture import PICTURE_FIELD, picture_call, read_picture
from search_api.search.schemas import FacetsAnswer, RegionsAnswer, SearchAnswer, UploadAnswer
from search_api.search.uploads import Upload
from vitrine.errors import (
    BodyInvalid,
    BrokerUnavailable,
    ImageRejected,
    ParameterInvalid,
    PictureNotFound,
    ProductNotFound,
    UploadNotFound,
)
from vitrine.images.checks import inspect_image
from vitrine.images.formats import MEDIA_TYPES, NOT_SHOWN_BY_BROWSERS
from vitrine.images.thumbnails import THUMBNAIL_MEDIA_TYPE
from vitrine.web import is_picture, problem_responses, read_form, read_picture_body, requires

router = APIRouter(tags=["search"])


@router.post(
    "/api/search",
    summary="Find the products that look most like a picture",
    description=(
        "A form with the picture as `image`, or with the id of a kept one as `upload` (POST /api/uploads). Options and "
        "filters may be form fields or query parameters. The picture may also be the whole body, with its media type "
        "(`Content-Type: image/jpeg`) and the options in the query. The vector is made by the release that serves the "
        "model and compared with that release's vectors alone. Where nothing is found, `hints` and `relax` say why. "
        "For a photograph of a person, `regions=auto` searches with each garment in it."
    ),
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PARSER_ERRORS, UploadNotFound),
    openapi_extra=picture_call("The picture to search with.", options=SearchOptions, filters=True),
)
@requires("search", work="query")
async def search(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    picture, pairs = await read_picture(request, context.uploads)
    options, filters = split_options(pairs, SearchOptions)
    asked = Asked(opaque_caller(request.scope), started_s)
    return JsonAnswer(await context.search.by_picture(picture, options, filters, asked))


@router.post(
    "/api/regions",
    summary="Find the garments in a picture",
    description=(
        "A form with the picture as `image`, or with the id of a kept one as `upload`; the picture may also be the "
        "whole body. A parser finds the garments: the box, the outline and the kind of each, the most prominent first. "
        "The number of a garment is a search's `region`. `filters` are those of the `dataset` and `model`; where these "
        "are left out and several are served, `filters` is empty."
    ),
    response_model=RegionsAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PARSER_ERRORS, UploadNotFound),
    openapi_extra=picture_call("The picture.", options=Target),
)
@requires("search", work="query")
async def regions(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    picture, pairs = await read_picture(request, context.uploads)
    asked = Asked(opaque_caller(request.scope), started_s)
    return JsonAnswer(await context.search.regions(picture, only_options(pairs, Target), asked))


@router.get(
    "/api/products/{product_id:path}/similar",
    summary="Find the products that look most like one of the catalogue",
    description="The product itself is left out of the answer.",
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, ProductNotFound),
    openapi_extra={"parameters": [*query_parameters(MatchOptions), FILTER_PARAMETER]},
)
@requires("search")
async def similar(request: Request, context: Ctx, product_id: ProductId) -> Response:
    started_s = time.perf_counter()
    options, filters = split_options(request.query_params.multi_items(), MatchOptions)
    return JsonAnswer(await context.search.similar(product_id, options, filters, started_s=started_s))


def _examples_form() -> dict[str, Any]:
    def several(item: dict[str, Any], most: int) -> dict[str, Any]:
        return {"type": "array", "items": item, "maxItems": most}

    return filter_form(
        {
            "positive": several({"type": "string", "description": "Id of a liked product"}, MAX_EXAMPLES),
            "negative": several({"type": "string", "description": "Id of a disliked product"}, MAX_EXAMPLES),
            "positiveImage": several(picture_schema("A liked picture."), MAX_EXAMPLE_PICTURES),
            "negativeImage": several(picture_schema("A disliked picture."), MAX_EXAMPLE_PICTURES),
            "positiveUpload": several(UPLOAD_SCHEMA, MAX_EXAMPLE_PICTURES),
            "negativeUpload": several(UPLOAD_SCHEMA, MAX_EXAMPLE_PICTURES),
        },
        required=[],
        options=ListOptions,
    )


@router.post(
    "/api/recommend",
    summary="Find products like some examples and unlike others",
    description=(
        "Examples are ids of the catalogue, pictures (form only) and ids of uploads; at least one must be liked. The "
        "query is the mean of the liked, moved away from the mean of the disliked. The examples are left out."
    ),
    response_model=SearchAnswer,
    responses=problem_responses(*SEARCH_ERRORS, *PICTURE_ERRORS, BodyInvalid, ProductNotFound, UploadNotFound),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": RecommendBody.model_json_schema(
                        by_alias=True, ref_template="#/components/schemas/{model}"
                    )
                },
                "multipart/form-data": _examples_form(),
            },
        },
    },
)
@requires("search", work="query")
async def recommend(request: Request, context: Ctx) -> Response:
    started_s = time.perf_counter()
    examples = await read_examples(request, context.uploads)
    return JsonAnswer(await context.search.recommend(examples, Asked(opaque_caller(request.scope), started_s)))


_FIELD_PARAMETER: Final = {
    "name": "field",
    "in": "query",
    "required": True,
    "description": "The field to count; repeat for several",
    "style": "form",
    "explode": True,
    "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_FACET_FIELDS},
    "example": ["gender"],
}


@router.get(
    "/api/facets",
    summary="Count the products of each value of a field",
    description=(
        "Counts are exact, among the products that all the filters let through. Each value of a list counts, and each "
        "level of a category path, or with `under` each level right below one; decimals, dates and integers of many "
        "values are counted in buckets with round edges."
    ),
    response_model=FacetsAnswer,
    responses=problem_responses(*SEARCH_ERRORS),
    openapi_extra={"parameters": [*query_parameters(FacetOptions), _FIELD_PARAMETER, FILTER_PARAMETER]},
)
@requires("search")
async def facets(request: Request, context: Ctx) -> Response:
    return JsonAnswer(await context.search.facets(*read_facets(request)))


@router.post(
    "/api/uploads",
    summary="Keep a picture for an hour, to search with it again",
    description=(
        "A form with the picture as `image`. The answer's `upload` stands for the picture wherever one is taken. It is "
        "unguessable; the number and bytes of uploads are bounded, and the oldest go first. Faces of people are "
        "blurred before the picture is kept; `width` and `height` are those of the kept file."
    ),
    status_code=201,
    response_model=UploadAnswer,
    responses=problem_responses(*COMMON_ERRORS, *PARSER_ERRORS, ImageRejected, BrokerUnavailable),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": form_body(
                    {PICTURE_FIELD: picture_schema("The picture to keep.")}, required=[PICTURE_FIELD]
                )
            },
        },
    },
)
@requires("search", work="query")
async def upload(request: Request, context: Ctx) -> Response:
    caller = opaque_caller(request.scope)
    if is_picture(request):
        return _kept(await context.uploads.keep(await read_picture_body(request), caller=caller))
    form = await read_form(request)
    for name, _ in form.fields(except_for=frozenset({PICTURE_FIELD})):
        raise ParameterInvalid(f"{name[:80]!r} is not a field of this call")
    return _kept(await context.uploads.keep(form.one_picture(PICTURE_FIELD), caller=caller))


def _kept(kept: Upload) -> Response:
    answer = {
        "success": True,
        "upload": kept.id,
        "expiresAt": kept.expires_at.isoformat(timespec="seconds"),
        "width": kept.width_px,
        "height": kept.height_px,
    }
    return JsonAnswer(answer, status_code=201)


@router.get(
    "/api/uploads/{upload_id}",
    summary="A picture that was kept",
    response_class=Response,
    responses={
        200: {
            "description": (
                "The picture's file as it was sent, or with faces blurred; HEIC and TIFF, which browsers do not show, "
                "as WebP"
            ),
            "content": {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()},
        },
        **problem_responses(*COMMON_ERRORS, UploadNotFound, PictureNotFound, BrokerUnavailable),
    },
)
@requires("search")
async def get_upload(context: Ctx, upload_id: Annotated[str, Path(description="The upload's id")]) -> Response:
    data = await context.uploads.get(upload_id)
    # An upload never changes. The media type is from a fixed list, so that no browser runs a picture as a page.
    headers = {"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"}
    media_type = MEDIA_TYPES[inspect_image(data)[0]]
    if media_type in NOT_SHOWN_BY_BROWSERS:
        data, media_type = await context.thumbnails.shown(data), THUMBNAIL_MEDIA_TYPE
    return Response(data, media_type=media_type, headers=headers)
