"""The stored configuration of a collection, and which of Qdrant's collection options are supported.

A record is never changed in place. `shard` is the folder that holds the points now; other folders are leftovers.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict
from qdrant_client.http import models

from vitrine_local.qdrant.engine import EngineOptions
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
_NOT_SUPPORTED = ("sharding_method", "payload", "id_tracker", "wal_config", "sparse_vectors")
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
    strict_mode_config: models.StrictModeConfig | None = None
    quantization_config: models.ScalarQuantization | models.TurboQuantization | None = None
    on_disk_payload: bool = True
    metadata: dict[str, Any] | None = None

    @property
    def dim(self) -> int:
        return self.vectors.size

    @property
    def has_vector_lists(self) -> bool:
        """Whether a point has a list of vectors, and the score of the one that is nearest to the query."""
        return self.vectors.multivector_config is not None

    @property
    def indexing_threshold_kb(self) -> int:
        """Kilobytes of vectors without a search graph from which one is built; 0: never."""
        given = self.optimizers_config.indexing_threshold if self.optimizers_config else None
        return DEFAULT_INDEXING_THRESHOLD_KB if given is None else given

    def hnsw(self) -> dict[str, Any]:
        """All parameters of the search graph."""
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

    def quantization(self) -> dict[str, Any] | None:
        """The quantization of vectors, in Qdrant's JSON."""
        config = self.quantization_config
        return None if config is None else config.model_dump(mode="json", exclude_none=True)

    def engine_options(self) -> EngineOptions:
        """The options in the engine's terms."""
        wanted = {"size", "distance", "on_disk", "datatype", "multivector_config"}
        vectors = self.vectors.model_dump(mode="json", include=wanted)
        return EngineOptions(
            vectors=vectors,
            quantization=self.quantization(),
            hnsw=self.hnsw(),
            optimizers=self.optimizers_config.model_dump(exclude_none=True) if self.optimizers_config else {},
            on_disk_payload=self.on_disk_payload,
        )


def new_record(name: str, request: models.CreateCollection, *, shard: str) -> CollectionRecord:
    """The record of a new collection. Raises Unsupported, with the option's name, and ValidationFailed."""
    vectors = request.vectors
    if not isinstance(vectors, models.VectorParams):
        raise Unsupported("named vectors, or none" if vectors else "collections without vectors")
    for option in _SINGLE_NODE_ONLY:
        if getattr(request, option) not in (None, 1):
            raise Unsupported(f"{option} other than 1")
    for option in _NOT_SUPPORTED:
        if getattr(request, option):
            raise Unsupported(option)
    if vectors.memory is not None:
        raise Unsupported("vectors.memory")
    if not 1 <= vectors.size <= MAX_VECTOR_SIZE:
        raise ValidationFailed(f"[vectors.size: value {vectors.size} invalid, must be from 1 to {MAX_VECTOR_SIZE}]")
    quantization = check_quantization(vectors.quantization_config or request.quantization_config)
    for diff in (request.hnsw_config, vectors.hnsw_config):
        if diff is not None and diff.memory is not None:
            raise Unsupported("hnsw_config.memory")
    return CollectionRecord(
        name=name,
        shard=shard,
        vectors=vectors,
        hnsw_config=request.hnsw_config,
        optimizers_config=check_optimizers(request.optimizers_config),
        strict_mode_config=check_strict_mode(request.strict_mode_config),
        quantization_config=quantization,
        on_disk_payload=request.on_disk_payload is not False,
        metadata=request.metadata,
    )


def changed_record(record: CollectionRecord, request: models.UpdateCollection) -> CollectionRecord:
    """The record after an update: metadata, strict mode and optimizer options are merged key by key.

    A metadata key set to null is removed. Raises Unsupported for other options.
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


def check_quantization(
    config: models.QuantizationConfig | None,
) -> models.ScalarQuantization | models.TurboQuantization | None:
    """Raises Unsupported for other kinds, and for the placement in memory that replaces `always_ram`."""
    match config:
        case None:
            return None
        case models.ScalarQuantization(scalar=options) | models.TurboQuantization(turbo=options):
            if options.memory is not None:
                raise Unsupported("quantization_config.memory")
            return config
        case _:
            raise Unsupported(type(config).__name__)


def check_strict_mode(config: models.StrictModeConfig | None) -> models.StrictModeConfig | None:
    """Raises Unsupported for a limit that would not be enforced."""
    _refuse_unsupported(config, _STRICT_MODE_SUPPORTED, "strict_mode_config")
    return config


def check_optimizers(config: models.OptimizersConfigDiff | None) -> models.OptimizersConfigDiff | None:
    """Raises Unsupported for an option that would have no effect."""
    _refuse_unsupported(config, _OPTIMIZERS_SUPPORTED, "optimizers_config")
    return config


def _refuse_unsupported(config: BaseModel | None, supported: frozenset[str], name: str) -> None:
    for option in sorted(config.model_dump(exclude_none=True).keys() - supported) if config else ():
        raise Unsupported(f"{name}.{option}")


def _merged(old: Config | None, new: Config | None) -> Config | None:
    if old is None or new is None:
        return new or old
    return old.model_copy(update=new.model_dump(exclude_none=True))
