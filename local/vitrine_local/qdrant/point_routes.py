"""Handlers that search, read and change points."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import qdrant_edge as edge
from pydantic import TypeAdapter
from qdrant_client.http import models

from vitrine_local.qdrant import updates
from vitrine_local.qdrant.collection import Collection
from vitrine_local.qdrant.endpoint import Call, Handler
from vitrine_local.qdrant.engine import engine_errors
from vitrine_local.qdrant.errors import Unsupported
from vitrine_local.qdrant.filters import engine_filter
from vitrine_local.qdrant.groups import GroupSearch
from vitrine_local.qdrant.queries import checked_limit, engine_order, payload_selector, search, vector_selector

T = TypeVar("T")

_QUERY = TypeAdapter(models.QueryRequest)
_QUERIES = TypeAdapter(models.QueryRequestBatch)
_GROUPS = TypeAdapter(models.QueryGroupsRequest)
_POINTS: TypeAdapter[models.PointRequest] = TypeAdapter(models.PointRequest)
_SCROLL = TypeAdapter(models.ScrollRequest)
_COUNT = TypeAdapter(models.CountRequest)
_FACET = TypeAdapter(models.FacetRequest)
_UPSERT: TypeAdapter[models.PointInsertOperations] = TypeAdapter(models.PointInsertOperations)
_SELECTOR: TypeAdapter[models.PointsSelector] = TypeAdapter(models.PointsSelector)


async def query_points(call: Call) -> Any:
    request = await call.body(_QUERY)
    return _query_result(call.store.get(call.name), request)


async def query_batch(call: Call) -> Any:
    request = await call.body(_QUERIES)
    collection = call.store.get(call.name)
    collection.strict_mode.check_batch(len(request.searches))
    return [_query_result(collection, each) for each in request.searches]


async def query_groups(call: Call) -> Any:
    request = await call.body(_GROUPS)
    grouped = GroupSearch(call.store.get(call.name), request)
    groups = grouped.run()
    records = grouped.records(groups)
    return {
        "groups": [
            {
                "id": key,
                "hits": [{**_record(records[hit.id]), "version": hit.version, "score": hit.score} for hit in hits],
            }
            for key, hits in groups
        ]
    }


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
    return [_record(record) for record in found]


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
    return {"points": [_record(record) for record in found], "next_page_offset": following}


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


def _write_handler(adapter: TypeAdapter[T], change: Callable[[Collection, T], Awaitable[int]]) -> Handler:
    """A handler that applies a change before it answers, whether the client waits or not."""

    async def handler(call: Call) -> Any:
        request = await call.write_body(adapter)
        number = await change(call.store.get(call.name), request)
        return {"operation_id": number, "status": "completed" if call.waits else "acknowledged"}

    return handler


upsert_points = _write_handler(_UPSERT, updates.upsert)
delete_points = _write_handler(_SELECTOR, updates.delete_points)
set_payload = _write_handler(TypeAdapter(models.SetPayload), updates.set_payload)
overwrite_payload = _write_handler(TypeAdapter(models.SetPayload), updates.overwrite_payload)
delete_payload = _write_handler(TypeAdapter(models.DeletePayload), updates.delete_payload)


def _query_result(collection: Collection, request: models.QueryRequest) -> dict[str, Any]:
    hits = search(collection, request)
    return {"points": [{**_record(hit), "version": hit.version, "score": hit.score} for hit in hits]}


def _record(record: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    """A point as the server sends it, without the parts that were not requested."""
    answer: dict[str, Any] = {"id": record.id}
    for name in ("payload", "vector", "order_value"):
        value = getattr(record, name)
        if value is not None:
            answer[name] = value
    return answer


def _refuse_shard_key(request: Any) -> None:
    if request.shard_key is not None:
        raise Unsupported("shard_key")
