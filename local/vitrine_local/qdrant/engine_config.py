"""A collection's options in the engine's types, from plain values. Free of qdrant-client, whose import takes longer
than the start of an optimizer child should.
"""

from __future__ import annotations

from typing import Any, TypedDict

import qdrant_edge


class EngineOptions(TypedDict):
    """What the engine needs to know of a collection, as JSON can carry it."""

    vectors: dict[str, Any]  # size, distance, on_disk, datatype
    hnsw: dict[str, Any]
    optimizers: dict[str, Any]
    scalar_quantization: dict[str, Any] | None  # quantile, always_ram
    on_disk_payload: bool


def engine_config(options: EngineOptions) -> qdrant_edge.EdgeConfig:
    """The engine's configuration of a shard."""
    vectors, scalar = options["vectors"], options["scalar_quantization"]
    datatype = vectors["datatype"]
    return qdrant_edge.EdgeConfig(
        vectors=qdrant_edge.EdgeVectorParams(
            size=vectors["size"],
            distance=getattr(qdrant_edge.Distance, vectors["distance"]),
            on_disk=vectors["on_disk"],
            datatype=getattr(qdrant_edge.VectorStorageDatatype, datatype.capitalize()) if datatype else None,
        ),
        on_disk_payload=options["on_disk_payload"],
        hnsw_config=qdrant_edge.HnswIndexConfig(**options["hnsw"]),
        quantization_config=qdrant_edge.ScalarQuantizationConfig(
            type=qdrant_edge.ScalarType.Int8, quantile=scalar["quantile"], always_ram=scalar["always_ram"]
        )
        if scalar is not None
        else None,
        optimizers=qdrant_edge.EdgeOptimizersConfig(**options["optimizers"]),
    )
