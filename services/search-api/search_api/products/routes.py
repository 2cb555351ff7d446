"""The routes of single products: show, put, change, delete, restore."""

from __future__ import annotations

import json
from typing import Any, Final, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.responses import Response

from search_api.answers import JsonAnswer, product
from search_api.auth import opaque_caller
from search_api.context import Context, Ctx
from search_api.openapi import READ_ERRORS, form_body, picture_schema
from search_api.products.attributes import MAX_ATTRIBUTES, VARIANT_OF
from search_api.products.schemas import Dataset, DeletedAnswer, ProductAnswer, ProductId, RestoredAnswer
from search_api.products.service import StoredProduct
from search_api.products.writes import VariantChange
from search_api.search.options import body_invalid
from search_api.search.query_picture import PICTURE_FIELD, read_picture
from search_api.search.variants import count_more
from vitrine.errors import (
    BodyInvalid,
    BrokerUnavailable,
    EmbedderUnavailable,
    EmbeddingFailed,
    ImageMissing,
    ImageRejected,
    JobCancelled,
    MediaTypeUnsupported,
    PictureNotFound,
    ProductNotFound,
    StorageFull,
)
from vitrine.products import check_dataset_name, check_product_id, group_of, public_id
from vitrine.web import is_json, media_type, parse_json, problem_responses, read_json_bytes, requires

router = APIRouter(tags=["products"])
_JOB_ERRORS: Final = (BrokerUnavailable, EmbedderUnavailable, EmbeddingFailed, JobCancelled, StorageFull)


@router.get(
    "/api/products/{product_id:path}",
    summary="Look at one product",
    response_model=ProductAnswer,
    responses=problem_responses(*READ_ERRORS, ProductNotFound),
)
@requires("search")
async def get_product(context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    stored = await context.products.get(await context.retrieval.dataset(dataset), product_id)
    return JsonAnswer({"success": True, "product": product(stored.payload, await _variants(context, stored))})


async def _variants(context: Context, stored: StoredProduct) -> int:
    group = group_of(stored.payload)
    return (await count_more(context.store, stored.info, None, [group])).get(group, 0)


class ProductChanges(BaseModel):
    """Attributes to set; null removes one; others are kept. `variantOf`, if given, is set or removed likewise."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"attributes": {"baseColour": "Red", "season": None}}]},
    )

    attributes: dict[str, bool | int | float | str | list[str] | None] = Field(default={}, max_length=MAX_ATTRIBUTES)
    variant_of: str | int | None = Field(
        default=None,
        alias=VARIANT_OF,
        description="The product is a variant of the product with this id, or one of the variants that share it",
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.attributes and self.variant is None:
            raise ValueError("give at least one attribute, or 'variantOf'")
        return self

    @property
    def variant(self) -> VariantChange | None:
        """The change of the variant; None if it is not given."""
        if "variant_of" not in self.model_fields_set:
            return None
        return VariantChange(None if self.variant_of in (None, "") else str(self.variant_of))


@router.patch(
    "/api/products/{product_id:path}",
    summary="Change the attributes of a product",
    include_in_schema=False,
)
@router.put(
    "/api/products/{product_id:path}",
    summary="Put a product, or change its attributes",
    description=(
        "A form with the picture as `image` and the attributes as text fields puts the whole product. Its one picture "
        "replaces all that the product had. A JSON body changes attributes alone and keeps all pictures. `variantOf`, "
        "a field of the form or a member beside `attributes`, makes the product a variant of the product with that id. "
        "The product can be found with every model of the dataset when this returns."
    ),
    response_model=ProductAnswer,
    responses=problem_responses(
        *READ_ERRORS,
        *_JOB_ERRORS,
        BodyInvalid,
        ImageMissing,
        ImageRejected,
        MediaTypeUnsupported,
        PictureNotFound,
        ProductNotFound,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": form_body(
                    {
                        PICTURE_FIELD: picture_schema("The product's picture."),
                        VARIANT_OF: {"type": "string", "description": "The id of the product that it is a variant of"},
                    },
                    required=[PICTURE_FIELD],
                    options=None,
                    free_fields="An attribute: `gender=Women`",
                ),
                "application/json": {"schema": ProductChanges.model_json_schema()},
            },
        },
    },
)
@requires("ingest", work="write")
async def put_product(request: Request, context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    name = await context.retrieval.dataset(dataset)
    check_product_id(product_id)
    if is_json(request):
        try:
            changes = ProductChanges.model_validate(_checked_shape(parse_json(await read_json_bytes(request))))
        except ValidationError as error:
            raise body_invalid(error) from None
        stored, notices = await context.writes.change(name, product_id, changes.attributes, variant=changes.variant)
    elif media_type(request) == "multipart/form-data":
        picture, fields = await read_picture(request, context.uploads, with_query=False)
        stored, notices = await context.writes.put(
            name, product_id, fields, picture, caller=opaque_caller(request.scope)
        )
    else:
        raise MediaTypeUnsupported(
            "this call takes multipart/form-data (the whole product, with its picture as the file 'image') or "
            "application/json (changes of attributes alone)"
        )
    shown = product(stored.payload, await _variants(context, stored))
    return JsonAnswer({"success": True, "product": shown, "notices": list(notices)})


def _checked_shape(body: Any) -> Any:
    """The body. Raises BodyInvalid for attributes that are not below `attributes`."""
    if isinstance(body, dict) and body.keys() - {VARIANT_OF} and "attributes" not in body:
        example = json.dumps({"attributes": dict(list(body.items())[:3])}, ensure_ascii=False)
        raise BodyInvalid(f"put the attributes below 'attributes': {example[:300]}")
    return body


@router.delete(
    "/api/products/{product_id:path}",
    summary="Delete a product",
    description="It is gone from every model's search when this returns, and a later indexing leaves it out.",
    response_model=DeletedAnswer,
    responses=problem_responses(*READ_ERRORS, *_JOB_ERRORS, ProductNotFound),
)
@requires("ingest", work="write")
async def delete_product(context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    name = await context.retrieval.dataset(dataset)
    await context.writes.delete(name, product_id)
    return JsonAnswer({"success": True, "id": public_id(product_id), "dataset": name})


@router.post(
    "/api/products/{product_id:path}/restore",
    summary="Undo the deletion of a product",
    description=(
        "The catalogue's product is served again when this returns, if the catalogue still has its row and picture; "
        "else the next indexing that finds them brings it back, and `served` is false. The picture of a product that "
        "was put through the API went with its deletion: put it again."
    ),
    response_model=RestoredAnswer,
    responses=problem_responses(*READ_ERRORS, *_JOB_ERRORS, ProductNotFound),
)
@requires("ingest", work="write")
async def restore_product(context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    name = check_dataset_name(dataset) if dataset is not None else await context.retrieval.dataset(None)
    served, detail = await context.writes.restore(name, product_id)
    return JsonAnswer(
        {"success": True, "id": public_id(product_id), "dataset": name, "served": served, "detail": detail}
    )
