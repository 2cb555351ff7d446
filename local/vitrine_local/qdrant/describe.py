"""What a collection says of itself, in the server's form."""

from __future__ import annotations

from typing import Any, Final

import qdrant_edge as edge

from vitrine_local.qdrant.collection import Collection, data_type
from vitrine_local.qdrant.record import (
    DEFAULT_DELETED_THRESHOLD,
    DEFAULT_VACUUM_MIN_VECTORS,
    CollectionRecord,
)

_WAL_CAPACITY_MB: Final = 32
_INDEX_OPTIONS = (
    "is_tenant", "is_principal", "lookup", "range", "on_disk", "enable_hnsw", "min_token_len", "max_token_len",
    "lowercase", "phrase_matching",
)  # fmt: skip


def describe(collection: Collection) -> dict[str, Any]:
    """The answer of `GET /collections/{name}`. Yellow: an optimizer works or is due. Red: the engine failed."""
    info = collection.shard.info()
    busy = collection.optimizing or collection.needs_optimizer
    trouble = collection.failure or collection.optimizer_error
    return {
        "status": "red" if collection.failure else "yellow" if busy else "green",
        "optimizer_status": {"error": trouble} if trouble else "ok",
        "indexed_vectors_count": info.indexed_vectors_count,
        "points_count": info.points_count,
        "segments_count": info.segments_count,
        "config": _config(collection.record),
        "payload_schema": {field: _index(index) for field, index in sorted(info.payload_schema.items())},
    }


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
        "wal_config": {"wal_capacity_mb": _WAL_CAPACITY_MB, "wal_segments_ahead": 0},
    }
    for name in ("quantization_config", "strict_mode_config"):
        value = getattr(record, name)
        if value is not None:
            config[name] = value.model_dump(mode="json", exclude_none=True)
    if record.metadata is not None:
        config["metadata"] = record.metadata
    return config


def _index(index: edge.PayloadIndexInfo) -> dict[str, Any]:
    kind = data_type(index).value
    described: dict[str, Any] = {"data_type": kind, "points": index.points}
    if index.params is not None:
        given = {option: getattr(index.params, option, None) for option in _INDEX_OPTIONS}
        described["params"] = {"type": kind, **{name: value for name, value in given.items() if value is not None}}
    return described
