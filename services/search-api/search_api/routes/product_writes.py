"""Put and delete single products. What is put lies in the overlay, which a later indexing carries over, before the job
that makes it searchable; the answer comes when the job has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from search_api.answers import JsonAnswer, attributes_of, product
from search_api.attributes import Put, changed_attributes, typed_attributes
from search_api.context import Context, Ctx
from search_api.forms import media_type, read_form
from search_api.looking import opaque_caller
from search_api.options import body_invalid
from search_api.products import StoredProduct
from search_api.routes.documents import READ_ERRORS, form_body, picture_schema
from search_api.routes.products import Dataset, ProductId
from search_api.schemas import DeletedAnswer, ProductAnswer, RestoredAnswer
from vitrine.errors import (
    BodyInvalid,
    BrokerUnavailable,
    DatasetNotFound,
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
from vitrine.fields import FieldType, narrower
from vitrine.jobs import JobKind, JobRecord
from vitrine.products import Product, check_dataset_name, check_product_id, public_id
from vitrine.web import is_json, parse_json, problem_responses, read_json_bytes, requires

_PICTURE_FIELD: Final = "image"
MAX_ATTRIBUTES: Final = 64
_JOB_ERRORS: Final = (BrokerUnavailable, EmbedderUnavailable, EmbeddingFailed, JobCancelled, StorageFull)
router = APIRouter(tags=["products"])


class AttributeChanges(BaseModel):
    """Attributes to set; null takes one away; those not named stay."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"attributes": {"baseColour": "Red", "season": None}}]},
    )

    attributes: dict[str, str | int | float | None] = Field(min_length=1, max_length=MAX_ATTRIBUTES)


@router.put(
    "/api/products/{product_id}",
    summary="Put a product, or change its attributes",
    description=(
        "A form with the picture as `image` and the attributes as text fields puts the whole product. A JSON body "
        "changes attributes alone. The product can be found with every model of the dataset when this returns."
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
                    {_PICTURE_FIELD: picture_schema("The product's picture.")},
                    required=[_PICTURE_FIELD],
                    options=None,
                    free_fields="An attribute: `gender=Women`",
                ),
                "application/json": {"schema": AttributeChanges.model_json_schema()},
            },
        },
    },
)
@requires("ingest")
async def put_product(request: Request, context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    name = await context.retrieval.dataset(dataset)
    check_product_id(product_id)
    schema = await _schema_of(context, name)
    if is_json(request):
        put, picture = await _changed(request, context, name, product_id, schema=schema)
    elif media_type(request) == "multipart/form-data":
        form = await read_form(request)
        picture = form.one_picture(_PICTURE_FIELD)
        fields = list(form.fields(except_for=frozenset({_PICTURE_FIELD})))
        put = typed_attributes(fields, schema, max_attributes=MAX_ATTRIBUTES)
        # All of it is decoded first, so that a bad picture is this call's error and is never stored.
        if not picture:
            raise ImageRejected("empty", "the picture file is empty")
        await context.embedder.check(picture, caller=opaque_caller(request))
    else:
        raise MediaTypeUnsupported("this call takes multipart/form-data or application/json")
    await asyncio.to_thread(context.overlay.put, Product(name, product_id, "", put.attributes), picture)
    await _run(context, JobKind.UPSERT, name, product_id)
    stored = await context.products.get(name, product_id)
    return JsonAnswer({"success": True, "product": product(stored.payload), "notices": list(put.notices)})


@router.delete(
    "/api/products/{product_id}",
    summary="Delete a product",
    description="It is gone from every model's search when this returns, and a later indexing leaves it out.",
    response_model=DeletedAnswer,
    responses=problem_responses(*READ_ERRORS, *_JOB_ERRORS, ProductNotFound),
)
@requires("ingest")
async def delete_product(context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    name = await context.retrieval.dataset(dataset)
    check_product_id(product_id)
    await _must_exist(context, name, product_id)
    await asyncio.to_thread(context.overlay.delete, name, product_id)
    await _run(context, JobKind.DELETE, name, product_id)
    return JsonAnswer({"success": True, "id": public_id(product_id), "dataset": name})


@router.post(
    "/api/products/{product_id}/restore",
    summary="Undo the deletion of a product",
    description=(
        "The catalogue's product is served again when this returns, if the catalogue still has its row and picture; "
        "else the next indexing that finds them brings it back, and `served` is false. The picture of a product that "
        "was put through the API went with its deletion: put it again."
    ),
    response_model=RestoredAnswer,
    responses=problem_responses(*READ_ERRORS, *_JOB_ERRORS, ProductNotFound),
)
@requires("ingest")
async def restore_product(context: Ctx, product_id: ProductId, dataset: Dataset = None) -> Response:
    name = check_dataset_name(dataset) if dataset is not None else await context.retrieval.dataset(None)
    if not await asyncio.to_thread(context.overlay.restore, name, check_product_id(product_id)):
        raise ProductNotFound(f"the product {product_id!r} of the dataset {name!r} was not deleted through the API")
    reason = "nothing of the dataset is indexed"
    try:
        result = (await _run(context, JobKind.UPSERT, name, product_id, restore=True)).result or {}
    except DatasetNotFound:
        result = {}
    served = bool(result.get("collections"))
    detail = (
        "the product is served again"
        if served
        else f"the deletion is undone, but the product is not served yet: {result.get('reason') or reason}. The next "
        "indexing that finds its row and its picture brings it back"
    )
    return JsonAnswer(
        {"success": True, "id": public_id(product_id), "dataset": name, "served": served, "detail": detail}
    )


async def _changed(
    request: Request, context: Context, dataset: str, product_id: str, *, schema: dict[str, FieldType]
) -> tuple[Put, bytes]:
    try:
        changes = AttributeChanges.model_validate(parse_json(await read_json_bytes(request)))
    except ValidationError as error:
        raise body_invalid(error) from None
    stored = await context.products.get(dataset, product_id)
    put = changed_attributes(attributes_of(stored.payload), changes.attributes, schema, max_attributes=MAX_ATTRIBUTES)
    return put, await context.pictures.read(stored, dataset, product_id)


async def _schema_of(context: Context, dataset: str) -> dict[str, FieldType]:
    """The fields of everything that serves the dataset, read anew; a value must fit the narrowest type of its field."""
    schema: dict[str, FieldType] = {}
    for serving in await context.products.servings(dataset):
        fields = (await context.store.collection(serving.collection, fresh=True)).schema
        schema |= {name: narrower(schema.get(name, kind), kind) for name, kind in fields.items()}
    return schema


async def _must_exist(context: Context, dataset: str, product_id: str) -> StoredProduct | None:
    """The product in a collection, or None where it is in the overlay alone. Raises ProductNotFound for neither."""
    try:
        return await context.products.get(dataset, product_id)
    except ProductNotFound:
        if await asyncio.to_thread(context.overlay.get, dataset, product_id) is None:
            raise
        return None


async def _run(context: Context, kind: JobKind, dataset: str, product_id: str, **options: bool) -> JobRecord:
    params: dict[str, Any] = {"dataset": dataset, "product_id": product_id, **options}
    record, _ = await context.jobs.submit(kind, params)
    return await context.jobs.finished(record.id, timeout_s=context.settings.product_write_timeout_s)
