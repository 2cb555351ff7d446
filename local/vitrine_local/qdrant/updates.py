"""Changes of points: from the client's request models to the engine's operations.

A vector is checked here, for the engine takes NaN; so is the presence of a point that a change names, for a refused
operation would stay in the engine's log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Change, Collection
from vitrine_local.qdrant.errors import FormatInvalid, NotFound, Unsupported, WrongInput
from vitrine_local.qdrant.filters import engine_filter

_FLOAT32_MAX: Final = 3.4028234663852886e38
_MODES: Final = {
    models.UpdateMode.UPSERT: edge.UpdateMode.Upsert,
    models.UpdateMode.INSERT_ONLY: edge.UpdateMode.InsertOnly,
    models.UpdateMode.UPDATE_ONLY: edge.UpdateMode.UpdateOnly,
}
Target = models.SetPayload | models.DeletePayload | models.PointIdsList | models.FilterSelector


def checked_vector(vector: Any, *, dim: int) -> list[float]:
    """A dense vector of `dim` finite float32 values. Raises WrongInput, FormatInvalid, Unsupported."""
    if not isinstance(vector, list) or (vector and isinstance(vector[0], list)):
        raise Unsupported("vectors other than one unnamed dense vector")
    if len(vector) != dim:
        raise WrongInput(f"Vector dimension error: expected dim: {dim}, got {len(vector)}")
    if not math.isfinite(sum(vector)) or max(vector) > _FLOAT32_MAX or min(vector) < -_FLOAT32_MAX:
        raise FormatInvalid("a vector holds a value that is not a finite number of 32 bits")
    return vector


async def upsert(collection: Collection, request: models.PointInsertOperations) -> int:
    """Insert or replace whole points. Returns the operation's number."""
    _refuse_shard_key(request)
    rows = _batch_rows(request.batch) if isinstance(request, models.PointsBatch) else _list_rows(request.points)
    vectors = [checked_vector(vector, dim=collection.record.dim) for _, vector, _ in rows]
    collection.strict_mode.check_write(request.update_filter)
    condition = engine_filter(request.update_filter)
    mode = _MODES[request.update_mode] if request.update_mode is not None else None

    def build() -> Change:
        collection.strict_mode.check_upsert(len(rows), points_after=collection.shard.info().points_count + len(rows))
        points = [
            edge.Point(cast(Any, point_id), cast(Any, vector), payload)
            for (point_id, _, payload), vector in zip(rows, vectors, strict=True)
        ]
        return Change(edge.UpdateOperation.upsert_points(points, condition, mode), moved=len(points))

    return await collection.write(build)


async def delete_points(collection: Collection, request: models.PointsSelector) -> int:
    """Delete points by id or filter; ids that are not there are no error."""
    return await _on_target(
        collection,
        request,
        by_ids=edge.UpdateOperation.delete_points,
        by_filter=edge.UpdateOperation.delete_points_by_filter,
        deletes=True,
    )


async def set_payload(collection: Collection, request: models.SetPayload) -> int:
    """Set the given keys and keep the others."""
    payload, key = request.payload, request.key
    return await _on_target(
        collection,
        request,
        by_ids=lambda ids: edge.UpdateOperation.set_payload(ids, payload, key),
        by_filter=lambda condition: edge.UpdateOperation.set_payload_by_filter(condition, payload, key),
    )


async def overwrite_payload(collection: Collection, request: models.SetPayload) -> int:
    """Replace the whole payload."""
    payload, key = request.payload, request.key
    return await _on_target(
        collection,
        request,
        by_ids=lambda ids: edge.UpdateOperation.overwrite_payload(ids, payload, key),
        by_filter=lambda condition: edge.UpdateOperation.overwrite_payload_by_filter(condition, payload, key),
    )


async def delete_payload(collection: Collection, request: models.DeletePayload) -> int:
    """Remove the given keys."""
    keys = request.keys
    return await _on_target(
        collection,
        request,
        by_ids=lambda ids: edge.UpdateOperation.delete_payload(ids, keys),
        by_filter=lambda condition: edge.UpdateOperation.delete_payload_by_filter(condition, keys),
    )


async def clear_payload(collection: Collection, request: models.PointsSelector) -> int:
    """Remove the whole payload."""
    return await _on_target(
        collection,
        request,
        by_ids=edge.UpdateOperation.clear_payload,
        by_filter=edge.UpdateOperation.clear_payload_by_filter,
    )


async def update_vectors(collection: Collection, request: models.UpdateVectors) -> int:
    """Replace the vectors of points and keep their payload."""
    _refuse_shard_key(request)
    collection.strict_mode.check_write(request.update_filter)
    condition = engine_filter(request.update_filter)
    vectors = [checked_vector(point.vector, dim=collection.record.dim) for point in request.points]

    def build() -> Change:
        _check_exist(collection, [point.id for point in request.points])
        changed = [
            edge.PointVectors(cast(Any, point.id), cast(Any, vector))
            for point, vector in zip(request.points, vectors, strict=True)
        ]
        return Change(edge.UpdateOperation.update_vectors(changed, condition), moved=len(changed))

    return await collection.write(build)


async def apply_batch(collection: Collection, request: models.UpdateOperations) -> list[int]:
    """Apply operations in their order. The first one refused ends the batch, with those before it applied."""
    return [await _apply(collection, operation) for operation in request.operations]


async def _apply(collection: Collection, operation: models.UpdateOperation) -> int:
    match operation:
        case models.UpsertOperation():
            return await upsert(collection, operation.upsert)
        case models.DeleteOperation():
            return await delete_points(collection, operation.delete)
        case models.SetPayloadOperation():
            return await set_payload(collection, operation.set_payload)
        case models.OverwritePayloadOperation():
            return await overwrite_payload(collection, operation.overwrite_payload)
        case models.DeletePayloadOperation():
            return await delete_payload(collection, operation.delete_payload)
        case models.ClearPayloadOperation():
            return await clear_payload(collection, operation.clear_payload)
        case models.UpdateVectorsOperation():
            return await update_vectors(collection, operation.update_vectors)
        case _:
            raise Unsupported(type(operation).__name__)


async def _on_target(
    collection: Collection,
    request: Target,
    *,
    by_ids: Callable[[list[Any]], edge.UpdateOperation],
    by_filter: Callable[[edge.Filter], edge.UpdateOperation],
    deletes: bool = False,
) -> int:
    _refuse_shard_key(request)
    ids = getattr(request, "points", None)
    wanted = getattr(request, "filter", None)
    if ids is None and wanted is None:
        raise FormatInvalid("no points and no filter: say which points are meant")
    collection.strict_mode.check_write(wanted)
    condition = engine_filter(wanted)

    def build() -> Change:
        if ids is None:
            matches = 0 if deletes else collection.shard.count(edge.CountRequest(True, condition))
            return Change(by_filter(cast(edge.Filter, condition)), moved=matches)
        if not deletes:
            _check_exist(collection, ids)
        return Change(by_ids(ids), moved=0 if deletes else len(ids))

    return await collection.write(build)


def _check_exist(collection: Collection, ids: Sequence[models.ExtendedPointId]) -> None:
    found = {str(record.id) for record in collection.shard.retrieve(cast(Any, list(ids)), False, False)}
    for point_id in ids:
        if str(point_id).lower() not in found:
            raise NotFound(f"No point with id {point_id} found")


def _refuse_shard_key(request: Any) -> None:
    if getattr(request, "shard_key", None) is not None:
        raise Unsupported("shard_key")


Row = tuple[models.ExtendedPointId, Any, Mapping[str, Any] | None]


def _list_rows(points: Sequence[models.PointStruct]) -> list[Any]:
    return [(point.id, point.vector, point.payload) for point in points]


def _batch_rows(batch: models.Batch) -> list[Any]:
    if not isinstance(batch.vectors, list):
        raise Unsupported("named vectors")
    payloads = batch.payloads if batch.payloads is not None else [None] * len(batch.ids)
    if not len(batch.ids) == len(batch.vectors) == len(payloads):
        raise FormatInvalid(
            f"a batch of {len(batch.ids)} ids, {len(batch.vectors)} vectors and {len(payloads)} payloads"
        )
    return list(zip(batch.ids, batch.vectors, payloads, strict=True))
