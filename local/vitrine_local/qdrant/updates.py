"""Translates changes of points from the client's request models to the engine's operations.

Vectors are checked here because the engine accepts NaN. The existence of the points is checked too: an operation that
the engine refuses would stay in its log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Change, Collection
from vitrine_local.qdrant.errors import FormatInvalid, NotFound, Unsupported, ValidationFailed, WrongInput
from vitrine_local.qdrant.filters import engine_filter

_FLOAT32_MAX: Final = 3.4028234663852886e38
_NOT_SUPPORTED: Final = ("shard_key", "update_filter", "update_mode")
Selector = models.SetPayload | models.DeletePayload | models.PointIdsList | models.FilterSelector
Vector = list[float] | list[list[float]]
# As in Qdrant: a list of vectors has at most this many numbers.
_MAX_LIST_NUMBERS: Final = 1_048_576
Row = tuple[models.ExtendedPointId, Any, dict[str, Any] | None]


def checked_vectors(vector: Any, *, dim: int, several: bool) -> Vector:
    """A dense vector, or a list of them where points have `several`. Raises as `checked_vector` does."""
    if not several or not (isinstance(vector, list) and vector and isinstance(vector[0], list)):
        return checked_vector(vector, dim=dim)
    if len(vector) * dim > _MAX_LIST_NUMBERS:
        raise ValidationFailed(f"[vector: a list of {len(vector)} vectors is too long]")
    return [checked_vector(one, dim=dim) for one in vector]


def checked_vector(vector: Any, *, dim: int) -> list[float]:
    """A dense vector of `dim` finite float32 values. Raises WrongInput, FormatInvalid, Unsupported."""
    if not isinstance(vector, list) or (vector and isinstance(vector[0], list)):
        raise Unsupported("vectors other than one unnamed dense vector")
    if len(vector) != dim:
        raise WrongInput(f"Vector dimension error: expected dim: {dim}, got {len(vector)}")
    if not math.isfinite(sum(vector)) or max(vector) > _FLOAT32_MAX or min(vector) < -_FLOAT32_MAX:
        raise FormatInvalid("a vector contains a value that is not a finite 32-bit number")
    return vector


async def upsert(collection: Collection, request: models.PointInsertOperations) -> int:
    """Insert or replace whole points. Returns the operation's number."""
    _refuse_unsupported(request)
    rows = _batch_rows(request.batch) if isinstance(request, models.PointsBatch) else _list_rows(request.points)
    record = collection.record
    vectors = [checked_vectors(vector, dim=record.dim, several=record.has_vector_lists) for _, vector, _ in rows]

    def build() -> Change:
        collection.strict_mode.check_upsert(len(rows), points_after=collection.shard.info().points_count + len(rows))
        points = [
            edge.Point(cast(Any, point_id), cast(Any, vector), payload)
            for (point_id, _, payload), vector in zip(rows, vectors, strict=True)
        ]
        return Change(
            edge.UpdateOperation.upsert_points(points), rewritten=len(points), vectors=sum(map(_count, vectors))
        )

    return await collection.write(build)


async def delete_points(collection: Collection, request: models.PointsSelector) -> int:
    """Delete points by id or filter. Unknown ids are ignored."""
    return await _update_selected(
        collection,
        request,
        by_ids=edge.UpdateOperation.delete_points,
        by_filter=edge.UpdateOperation.delete_points_by_filter,
        deletes=True,
    )


async def set_payload(collection: Collection, request: models.SetPayload) -> int:
    """Set the given keys and keep the others."""
    payload, key = request.payload, request.key
    return await _update_selected(
        collection,
        request,
        by_ids=lambda ids: edge.UpdateOperation.set_payload(ids, payload, key),
        by_filter=lambda condition: edge.UpdateOperation.set_payload_by_filter(condition, payload, key),
    )


async def overwrite_payload(collection: Collection, request: models.SetPayload) -> int:
    """Replace the whole payload."""
    payload, key = request.payload, request.key
    return await _update_selected(
        collection,
        request,
        by_ids=lambda ids: edge.UpdateOperation.overwrite_payload(ids, payload, key),
        by_filter=lambda condition: edge.UpdateOperation.overwrite_payload_by_filter(condition, payload, key),
    )


async def delete_payload(collection: Collection, request: models.DeletePayload) -> int:
    """Remove the given keys."""
    keys = request.keys
    return await _update_selected(
        collection,
        request,
        by_ids=lambda ids: edge.UpdateOperation.delete_payload(ids, keys),
        by_filter=lambda condition: edge.UpdateOperation.delete_payload_by_filter(condition, keys),
    )


async def _update_selected(
    collection: Collection,
    request: Selector,
    *,
    by_ids: Callable[[list[Any]], edge.UpdateOperation],
    by_filter: Callable[[edge.Filter], edge.UpdateOperation],
    deletes: bool = False,
) -> int:
    _refuse_unsupported(request)
    ids = getattr(request, "points", None)
    requested = getattr(request, "filter", None)
    if ids is None and requested is None:
        raise FormatInvalid("either points or a filter is required")
    collection.strict_mode.check_write(requested)
    condition = engine_filter(requested)

    def build() -> Change:
        if ids is None:
            matches = 0 if deletes else collection.shard.count(edge.CountRequest(True, condition))
            return Change(by_filter(cast(edge.Filter, condition)), rewritten=matches)
        if not deletes:
            _check_exist(collection, ids)
        return Change(by_ids(ids), rewritten=0 if deletes else len(ids))

    return await collection.write(build)


def _count(vector: Vector) -> int:
    return len(vector) if isinstance(vector[0], list) else 1


def _check_exist(collection: Collection, ids: Sequence[models.ExtendedPointId]) -> None:
    found = {str(record.id) for record in collection.shard.retrieve(cast(Any, list(ids)), False, False)}
    for point_id in ids:
        if str(point_id).lower() not in found:
            raise NotFound(f"No point with id {point_id} found")


def _refuse_unsupported(request: Any) -> None:
    for option in _NOT_SUPPORTED:
        if getattr(request, option, None) is not None:
            raise Unsupported(option)


def _list_rows(points: Sequence[models.PointStruct]) -> list[Row]:
    return [(point.id, point.vector, point.payload) for point in points]


def _batch_rows(batch: models.Batch) -> list[Row]:
    if not isinstance(batch.vectors, list):
        raise Unsupported("named vectors")
    payloads = batch.payloads if batch.payloads is not None else [None] * len(batch.ids)
    if not len(batch.ids) == len(batch.vectors) == len(payloads):
        raise FormatInvalid(
            f"a batch of {len(batch.ids)} ids, {len(batch.vectors)} vectors and {len(payloads)} payloads"
        )
    return list(zip(batch.ids, batch.vectors, payloads, strict=True))
