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
        on_disk_payload=options["on_disk_payload"],
        hnsw_config=qdrant_edge.HnswIndexConfig(**options["hnsw"]),
        optimizers=qdrant_edge.EdgeOptimizersConfig(**options["optimizers"]),
    )


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
