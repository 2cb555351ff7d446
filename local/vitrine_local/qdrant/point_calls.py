"""The calls that read and change points by id or filter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import qdrant_edge as edge
from pydantic import TypeAdapter
from qdrant_client.http import models

from vitrine_local.qdrant import updates
from vitrine_local.qdrant.collection import Collection
from vitrine_local.qdrant.endpoint import Call, Handler
from vitrine_local.qdrant.errors import NotFound, Unsupported, engine_errors
from vitrine_local.qdrant.filters import engine_filter
from vitrine_local.qdrant.queries import checked_limit, engine_order, payload_selector, vector_selector

T = TypeVar("T")

_POINTS: TypeAdapter[models.PointRequest] = TypeAdapter(models.PointRequest)
_SCROLL = TypeAdapter(models.ScrollRequest)
_COUNT = TypeAdapter(models.CountRequest)
_FACET = TypeAdapter(models.FacetRequest)
_BATCH = TypeAdapter(models.UpdateOperations)
_UPSERT: TypeAdapter[models.PointInsertOperations] = TypeAdapter(models.PointInsertOperations)
_SELECTOR: TypeAdapter[models.PointsSelector] = TypeAdapter(models.PointsSelector)


def record_answer(record: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    """A point as the server sends it: what was not asked for is not there."""
    answer: dict[str, Any] = {"id": record.id}
    for name in ("payload", "vector", "order_value"):
        value = getattr(record, name)
        if value is not None:
            answer[name] = value
    return answer


def changing(adapter: TypeAdapter[T], change: Callable[[Collection, T], Awaitable[int]]) -> Handler:
    """The handler of one kind of change. It is applied before it is answered, whether the caller waits or not."""

    async def handler(call: Call) -> Any:
        request = await call.written(adapter)
        return _update_answer(call, await change(call.store.get(call.name), request))

    return handler


upsert_points = changing(_UPSERT, updates.upsert)
delete_points = changing(_SELECTOR, updates.delete_points)
set_payload = changing(TypeAdapter(models.SetPayload), updates.set_payload)
overwrite_payload = changing(TypeAdapter(models.SetPayload), updates.overwrite_payload)
delete_payload = changing(TypeAdapter(models.DeletePayload), updates.delete_payload)
clear_payload = changing(_SELECTOR, updates.clear_payload)
update_vectors = changing(TypeAdapter(models.UpdateVectors), updates.update_vectors)


async def batch_update(call: Call) -> Any:
    request = await call.written(_BATCH)
    return [_update_answer(call, number) for number in await updates.apply_batch(call.store.get(call.name), request)]


async def get_point(call: Call) -> Any:
    text = str(call.request.path_params["id"])
    point_id = int(text) if text.isdecimal() else text
    with engine_errors():
        found = call.store.get(call.name).shard.retrieve([point_id], True, True)
    if not found:
        raise NotFound(f"Point with id {text} does not exists!")
    return record_answer(found[0])


async def get_points(call: Call) -> Any:
    request = await call.body(_POINTS)
    collection = call.store.get(call.name)
    _refuse_shard_key(request)
    collection.strict_mode.check_limit(len(request.ids), name="ids")
    with engine_errors():
        found = collection.shard.retrieve(
            cast(Any, request.ids),
            payload_selector(request.with_payload, default=True),
            vector_selector(request.with_vector),
        )
    return [record_answer(record) for record in found]


async def scroll_points(call: Call) -> Any:
    request = await call.body(_SCROLL)
    collection = call.store.get(call.name)
    _refuse_shard_key(request)
    limit = checked_limit(request.limit)
    collection.strict_mode.check_limit(limit)
    collection.strict_mode.check_read(request.filter)
    condition = engine_filter(request.filter)
    with engine_errors():
        found, following = collection.shard.scroll(
            edge.ScrollRequest(
                offset=cast(Any, request.offset),
                limit=limit,
                filter=condition,
                with_payload=payload_selector(request.with_payload, default=True),
                with_vector=vector_selector(request.with_vector),
                order_by=engine_order(request.order_by) if request.order_by is not None else None,
            )
        )
    return {"points": [record_answer(record) for record in found], "next_page_offset": following}


async def count_points(call: Call) -> Any:
    request = await call.body(_COUNT)
    collection = call.store.get(call.name)
    _refuse_shard_key(request)
    collection.strict_mode.check_read(request.filter)
    condition = engine_filter(request.filter)
    with engine_errors():
        return {"count": collection.shard.count(edge.CountRequest(request.exact is not False, condition))}


async def facet(call: Call) -> Any:
    request = await call.body(_FACET)
    collection = call.store.get(call.name)
    _refuse_shard_key(request)
    limit = checked_limit(request.limit)
    collection.strict_mode.check_limit(limit)
    collection.strict_mode.check_read(request.filter)
    condition = engine_filter(request.filter)
    with engine_errors():
        answer = collection.shard.facet(edge.FacetRequest(request.key, limit, bool(request.exact), condition))
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in answer.hits]}


def _update_answer(call: Call, number: int) -> dict[str, Any]:
    return {"operation_id": number, "status": "completed" if call.waits else "acknowledged"}


def _refuse_shard_key(request: Any) -> None:
    if request.shard_key is not None:
        raise Unsupported("shard_key")
