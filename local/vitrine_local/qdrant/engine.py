"""Adapter to the engine (qdrant-edge): a collection's options in its types, and its errors as the server's.

Does not import qdrant-client, whose import would slow down the start of the child processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypedDict

import qdrant_edge

from vitrine_local.qdrant.errors import FormatInvalid, NotFound, QdrantError, WrongInput

_MISSING_POINT: Final = re.compile(r"No point with id \S+")
_COMPARATORS: Final = {"max_sim": qdrant_edge.MultiVectorComparator.MaxSim}
_CLIENT_ERRORS: Final = (
    "Vector dimension error",
    "Not existing vector name",
    "No appropriate index",
    "No range index",
    "Wrong",
    "Validation",
    "Unsupported",
)


class EngineOptions(TypedDict):
    """What the engine needs to know about a collection, in JSON types."""

    vectors: dict[str, Any]  # size, distance, on_disk, datatype, multivector_config
    quantization: dict[str, Any] | None  # scalar or turbo
    hnsw: dict[str, Any]
    optimizers: dict[str, Any]
    on_disk_payload: bool


def engine_config(options: EngineOptions) -> qdrant_edge.EdgeConfig:
    """The engine's configuration of a shard."""
    vectors = options["vectors"]
    datatype, several = vectors["datatype"], vectors["multivector_config"]
    return qdrant_edge.EdgeConfig(
        vectors=qdrant_edge.EdgeVectorParams(
            size=vectors["size"],
            distance=getattr(qdrant_edge.Distance, vectors["distance"]),
            on_disk=vectors["on_disk"],
            multivector_config=qdrant_edge.MultiVectorConfig(_COMPARATORS[several["comparator"]]) if several else None,
            datatype=getattr(qdrant_edge.VectorStorageDatatype, datatype.capitalize()) if datatype else None,
        ),
        quantization_config=_quantization(options["quantization"]),
        on_disk_payload=options["on_disk_payload"],
        hnsw_config=qdrant_edge.HnswIndexConfig(**options["hnsw"]),
        optimizers=qdrant_edge.EdgeOptimizersConfig(**options["optimizers"]),
    )


def _quantization(config: dict[str, Any] | None) -> Any:
    """The engine's quantization of vectors, from Qdrant's JSON."""
    match config:
        case None:
            return None
        case {"scalar": scalar}:
            return qdrant_edge.ScalarQuantizationConfig(
                qdrant_edge.ScalarType.Int8, scalar.get("quantile"), scalar.get("always_ram")
            )
        case {"turbo": turbo}:
            bits = turbo.get("bits")
            return qdrant_edge.TurboQuantQuantizationConfig(
                always_ram=turbo.get("always_ram"),
                bits=getattr(qdrant_edge.TurboQuantBitSize, bits.capitalize()) if bits else None,
            )
        case _:
            raise ValueError(f"unknown quantization: {config}")


def is_engine_failure(error: BaseException) -> bool:
    """Whether this is an error or a panic of the engine. A panic is no Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@contextmanager
def engine_errors() -> Iterator[None]:
    """Raise the engine's errors as QdrantErrors. An error that is not known to be the client's passes through."""
    try:
        yield
    except QdrantError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatInvalid(str(error)) from error
    except Exception as error:
        text = str(error)
        if missing := _MISSING_POINT.search(text):
            raise NotFound(f"{missing[0]} found") from error
        if any(word in text for word in _CLIENT_ERRORS):
            raise WrongInput(text) from error
        raise
