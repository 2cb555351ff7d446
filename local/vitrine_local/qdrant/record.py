"""What a collection is, as it lies on disk, and what of Qdrant's collection options the local engine takes.

A record is written whole and never changed in place. `shard` names the folder that holds the points now; a folder that
no record names is a leftover.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict
from qdrant_client.http import models

from vitrine_local.qdrant.engine_config import EngineOptions
from vitrine_local.qdrant.errors import Unsupported, ValidationFailed

Config = TypeVar("Config", bound=BaseModel)

MAX_VECTOR_SIZE: Final = 65_536
# Qdrant's own defaults.
DEFAULT_INDEXING_THRESHOLD_KB: Final = 10_000
DEFAULT_DELETED_THRESHOLD: Final = 0.2
DEFAULT_VACUUM_MIN_VECTORS: Final = 1_000
_HNSW_M: Final = 16
_HNSW_EF_CONSTRUCT: Final = 100
_HNSW_FULL_SCAN_THRESHOLD_KB: Final = 10_000

_SINGLE_NODE_ONLY = ("shard_number", "replication_factor", "write_consistency_factor")
_NEVER_GIVEN = ("sharding_method", "payload", "id_tracker", "wal_config", "sparse_vectors")
_STRICT_MODE_SUPPORTED = frozenset(
    {
        "enabled",
        "max_query_limit",
        "unindexed_filtering_retrieve",
        "unindexed_filtering_update",
        "search_max_hnsw_ef",
        "search_allow_exact",
        "upsert_max_batchsize",
        "search_max_batchsize",
        "max_points_count",
        "filter_max_conditions",
        "condition_max_size",
        "max_payload_index_count",
    }
)
_OPTIMIZERS_SUPPORTED = frozenset(
    {
        "deleted_threshold",
        "vacuum_min_vector_number",
        "default_segment_number",
        "max_segment_size",
        "indexing_threshold",
    }
)


class CollectionRecord(BaseModel):
    """`collection.json`."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    name: str
    shard: str
    vectors: models.VectorParams
    hnsw_config: models.HnswConfigDiff | None = None
    optimizers_config: models.OptimizersConfigDiff | None = None
    quantization_config: models.ScalarQuantization | None = None
    strict_mode_config: models.StrictModeConfig | None = None
    on_disk_payload: bool = True
    metadata: dict[str, Any] | None = None

    @property
    def dim(self) -> int:
        return self.vectors.size

    @property
    def indexing_threshold_kb(self) -> int:
        """Kilobytes of vectors without a search graph that are worth building one for; 0 is never."""
        given = self.optimizers_config.indexing_threshold if self.optimizers_config else None
        return DEFAULT_INDEXING_THRESHOLD_KB if given is None else given

    def hnsw(self) -> dict[str, Any]:
        """The parameters of the search graph, all of them."""
        wanted: dict[str, Any] = {
            "m": _HNSW_M,
            "ef_construct": _HNSW_EF_CONSTRUCT,
            "full_scan_threshold": _HNSW_FULL_SCAN_THRESHOLD_KB,
            "max_indexing_threads": 0,
            "on_disk": False,
        }
        for diff in (self.hnsw_config, self.vectors.hnsw_config):
            if diff is not None:
                wanted |= diff.model_dump(exclude_none=True)
        return wanted

    def engine_options(self) -> EngineOptions:
        """The same for the engine."""
        quantization = self.quantization_config.scalar if self.quantization_config else None
        vectors = self.vectors.model_dump(mode="json", include={"size", "distance", "on_disk", "datatype"})
        return EngineOptions(
            vectors=vectors,
            hnsw=self.hnsw(),
            optimizers=self.optimizers_config.model_dump(exclude_none=True) if self.optimizers_config else {},
            scalar_quantization=quantization.model_dump(include={"quantile", "always_ram"}) if quantization else None,
            on_disk_payload=self.on_disk_payload,
        )


def new_record(name: str, request: models.CreateCollection, *, shard: str) -> CollectionRecord:
    """The record of a collection to create. Raises Unsupported by the option's name, ValidationFailed."""
    vectors = request.vectors
    if not isinstance(vectors, models.VectorParams):
        raise Unsupported("named vectors, or none" if vectors else "collections without vectors")
    for option in _SINGLE_NODE_ONLY:
        if getattr(request, option) not in (None, 1):
            raise Unsupported(f"{option} other than 1")
    for option in _NEVER_GIVEN:
        if getattr(request, option):
            raise Unsupported(option)
    for option in ("multivector_config", "memory"):
        if getattr(vectors, option) is not None:
            raise Unsupported(f"vectors.{option}")
    if not 1 <= vectors.size <= MAX_VECTOR_SIZE:
        raise ValidationFailed(f"[vectors.size: value {vectors.size} invalid, must be from 1 to {MAX_VECTOR_SIZE}]")
    quantization = vectors.quantization_config or request.quantization_config
    if quantization is not None and not isinstance(quantization, models.ScalarQuantization):
        raise Unsupported(type(quantization).__name__)
    for diff in (request.hnsw_config, vectors.hnsw_config):
        if diff is not None and diff.memory is not None:
            raise Unsupported("hnsw_config.memory")
    return CollectionRecord(
        name=name,
        shard=shard,
        vectors=vectors,
        hnsw_config=request.hnsw_config,
        optimizers_config=check_optimizers(request.optimizers_config),
        quantization_config=quantization,
        strict_mode_config=check_strict_mode(request.strict_mode_config),
        on_disk_payload=request.on_disk_payload is not False,
        metadata=request.metadata,
    )


def changed_record(record: CollectionRecord, request: models.UpdateCollection) -> CollectionRecord:
    """The record after an update. Metadata, strict mode and optimizer thresholds are merged key by key; a metadata key
    set to null goes.
    """
    for option in ("vectors", "params", "hnsw_config", "quantization_config", "sparse_vectors"):
        if getattr(request, option):
            raise Unsupported(f"change of {option}")
    changes: dict[str, Any] = {}
    if request.metadata is not None:
        merged = {**(record.metadata or {}), **request.metadata}
        changes["metadata"] = {key: value for key, value in merged.items() if value is not None}
    if request.strict_mode_config is not None:
        changes["strict_mode_config"] = _merged(
            record.strict_mode_config, check_strict_mode(request.strict_mode_config)
        )
    if request.optimizers_config is not None:
        changes["optimizers_config"] = _merged(record.optimizers_config, check_optimizers(request.optimizers_config))
    return record.model_copy(update=changes)


def check_strict_mode(config: models.StrictModeConfig | None) -> models.StrictModeConfig | None:
    """Refuse a limit that would not be kept."""
    _refuse_others(config, _STRICT_MODE_SUPPORTED, "strict_mode_config")
    return config


def check_optimizers(config: models.OptimizersConfigDiff | None) -> models.OptimizersConfigDiff | None:
    """Refuse an optimizer option that would have no effect."""
    _refuse_others(config, _OPTIMIZERS_SUPPORTED, "optimizers_config")
    return config


def _refuse_others(config: BaseModel | None, supported: frozenset[str], name: str) -> None:
    for option in sorted(config.model_dump(exclude_none=True).keys() - supported) if config else ():
        raise Unsupported(f"{name}.{option}")


def _merged(old: Config | None, new: Config | None) -> Config | None:
    if old is None or new is None:
        return new or old
    return old.model_copy(update=new.model_dump(exclude_none=True))
