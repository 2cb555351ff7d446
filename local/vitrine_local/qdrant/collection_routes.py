"""Handlers for collections, payload indexes and aliases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import qdrant_edge as edge
from pydantic import TypeAdapter
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Change, Collection, data_type
from vitrine_local.qdrant.endpoint import Call
from vitrine_local.qdrant.errors import Unsupported, WrongInput
from vitrine_local.qdrant.record import DEFAULT_DELETED_THRESHOLD, DEFAULT_VACUUM_MIN_VECTORS, CollectionRecord

_CREATE = TypeAdapter(models.CreateCollection)
_UPDATE = TypeAdapter(models.UpdateCollection)
_INDEX = TypeAdapter(models.CreateFieldIndex)
_ALIASES = TypeAdapter(models.ChangeAliasesOperation)
_INDEX_TYPES: Final = frozenset({"keyword", "integer", "float", "bool", "datetime", "uuid", "text"})
_ON_DISK_INDEXES: Final[Mapping[str, Callable[..., Any]]] = {
    "keyword": edge.KeywordIndexParams,
    "integer": edge.IntegerIndexParams,
    "float": edge.FloatIndexParams,
    "datetime": edge.DatetimeIndexParams,
}
_WAL_CAPACITY_MB: Final = 32


async def list_collections(call: Call) -> Any:
    return {"collections": [{"name": collection.name} for collection in call.store.collections()]}


async def get_collection(call: Call) -> Any:
    """Status yellow: an optimizer works or is due. Red: the engine failed."""
    collection = call.store.get(call.name)
    info = collection.shard.info()
    busy = collection.optimizing or collection.needs_optimizer
    problem = collection.failure or collection.optimizer_error
    return {
        "status": "red" if collection.failure else "yellow" if busy else "green",
        "optimizer_status": {"error": problem} if problem else "ok",
        "indexed_vectors_count": info.indexed_vectors_count,
        "points_count": info.points_count,
        "segments_count": info.segments_count,
        "config": _config(collection.record),
        "payload_schema": {
            field: {"data_type": data_type(index).value, "points": index.points}
            for field, index in sorted(info.payload_schema.items())
        },
    }


async def collection_exists(call: Call) -> Any:
    return {"exists": call.store.exists(call.name)}


async def create_collection(call: Call) -> Any:
    call.store.create(call.name, await call.write_body(_CREATE))
    return True


async def update_collection(call: Call) -> Any:
    await call.store.update(call.name, await call.write_body(_UPDATE))
    return True


async def delete_collection(call: Call) -> Any:
    return await call.store.delete(call.name)


async def create_index(call: Call) -> Any:
    request = await call.write_body(_INDEX)
    collection = call.store.get(call.name)
    schema = _index_schema(request.field_schema)

    def build() -> Change:
        known = collection.schema
        if request.field_name not in known:
            collection.strict_mode.check_index_count(len(known) + 1)
        return Change(edge.UpdateOperation.create_field_index(request.field_name, schema))

    return await _change_index(collection, build)


async def delete_index(call: Call) -> Any:
    field = str(call.request.path_params["field"])
    removal = Change(edge.UpdateOperation.delete_field_index(field))
    return await _change_index(call.store.get(call.name), lambda: removal)


async def list_aliases(call: Call) -> Any:
    return {"aliases": call.store.aliases()}


async def change_aliases(call: Call) -> Any:
    call.store.change_aliases((await call.write_body(_ALIASES)).actions)
    return True


async def list_issues(call: Call) -> Any:
    """Data that is set aside because it is damaged, in the format of Qdrant's issues API."""
    return {
        "issues": [
            {
                "id": f"DAMAGED/{Path(damage.folder).name}",
                "description": damage.description,
                "solution": {"refactor": damage.remedy},
                "timestamp": damage.at,
                "related_collection": damage.collection,
            }
            for damage in call.store.damages()
        ]
    }


async def _change_index(collection: Collection, build: Callable[[], Change]) -> dict[str, Any]:
    number = await collection.write(build)
    collection.refresh_schema()
    return {"operation_id": number, "status": "completed"}


def _index_schema(requested: models.PayloadFieldSchema | None) -> Any:
    """The engine's index type. Raises Unsupported for other types, and for index options other than `on_disk`."""
    if requested is None:
        raise WrongInput("field_schema is required")
    if isinstance(requested, models.PayloadSchemaType):
        name, options = requested.value, []
    else:
        name, options = requested.type.value, sorted(requested.model_dump(exclude_none=True, exclude={"type"}))
        on_disk = _ON_DISK_INDEXES.get(name)
        if options == ["on_disk"] and on_disk is not None:
            return on_disk(on_disk=requested.on_disk)
    if name not in _INDEX_TYPES:
        raise Unsupported(f"{name} indexes")
    if options:
        raise Unsupported(f"{name} index option {options[0]}")
    return getattr(edge.PayloadSchemaType, name.capitalize())


def _config(record: CollectionRecord) -> dict[str, Any]:
    optimizers = record.optimizers_config.model_dump(exclude_none=True) if record.optimizers_config else {}
    config: dict[str, Any] = {
        "params": {
            "vectors": record.vectors.model_dump(mode="json", exclude_none=True),
            "shard_number": 1,
            "replication_factor": 1,
            "write_consistency_factor": 1,
            "on_disk_payload": record.on_disk_payload,
        },
        "hnsw_config": record.hnsw(),
        "optimizer_config": {
            "deleted_threshold": DEFAULT_DELETED_THRESHOLD,
            "vacuum_min_vector_number": DEFAULT_VACUUM_MIN_VECTORS,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
            **optimizers,
            "indexing_threshold": record.indexing_threshold_kb,
        },
        "quantization_config": record.quantization(),
        "wal_config": {"wal_capacity_mb": _WAL_CAPACITY_MB, "wal_segments_ahead": 0},
    }
    if record.strict_mode_config is not None:
        config["strict_mode_config"] = record.strict_mode_config.model_dump(mode="json", exclude_none=True)
    if record.metadata is not None:
        config["metadata"] = record.metadata
    return config
