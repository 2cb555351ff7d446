"""Qdrant clients, collections, and the check of the server's version.

All clients are made here, so that they connect in the same way. They ask for uncompressed answers: a server sends a
compressed one in pieces, and over a kept connection the last piece waits about 40 ms for a delayed acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import httpx
import numpy as np
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from vitrine.products import VARIANT_FIELD, AttributeKind
from vitrine.qdrant.errors import unless_exists
from vitrine.qdrant.failover import AsyncFailoverTransport, FailoverTransport
from vitrine.qdrant.grpc_channel import use_async_failover, use_failover
from vitrine.qdrant.naming import collection_name
from vitrine.qdrant.nodes import Nodes
from vitrine.qdrant.profiles import DEFAULT_LAYOUT, Layout
from vitrine.qdrant.schema import (
    SYSTEM_FIELDS,
    CollectionInfo,
    CollectionMetadata,
    FieldType,
    index_fields,
    json_path,
    schema_of,
)
from vitrine.telemetry import get_logger
from vitrine.types import Vectors

DEFAULT_TIMEOUT_S: Final = 30
MAX_QUERY_LIMIT: Final = 1_000
# Products are counted by their variants' shared ids, in one request.
MAX_PRODUCTS_COUNTED: Final = 100_000
_CONNECTIONS: Final = 128
_LIMITS: Final = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
_CLIENT: Final = version("qdrant-client")
_SCHEMA_TYPES: Final[Mapping[FieldType, models.PayloadSchemaType]] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
    "bool": models.PayloadSchemaType.BOOL,
    "datetime": models.PayloadSchemaType.DATETIME,
}


def open_qdrant(
    url: str | Nodes, *, api_key: SecretStr | str | None = None, timeout_s: int = DEFAULT_TIMEOUT_S, grpc_port: int = 0
) -> QdrantClient:
    """A client that connects on first use. Close it after use.

    `url` may name several nodes of a cluster, separated by commas: a request that one does not answer goes to the next.
    With `grpc_port` most calls use gRPC on that port of each node. Raises SettingsInvalid.
    """
    nodes, key = _nodes(url), _text(api_key)
    options = _options(nodes, key, timeout_s, grpc_port)
    if nodes.are_several:
        options["transport"] = FailoverTransport(nodes, limits=_LIMITS)
    client = QdrantClient(**options)
    if grpc_port:
        use_failover(client, nodes, port=grpc_port, api_key=key)
    return client


def open_async_qdrant(
    url: str | Nodes, *, api_key: SecretStr | str | None = None, timeout_s: int = DEFAULT_TIMEOUT_S, grpc_port: int = 0
) -> AsyncQdrantClient:
    """`open_qdrant` for asyncio."""
    nodes, key = _nodes(url), _text(api_key)
    options = _options(nodes, key, timeout_s, grpc_port)
    if nodes.are_several:
        options["transport"] = AsyncFailoverTransport(nodes, limits=_LIMITS)
    client = AsyncQdrantClient(**options)
    if grpc_port:
        use_async_failover(client, nodes, port=grpc_port, api_key=key)
    return client


def _nodes(url: str | Nodes) -> Nodes:
    return url if isinstance(url, Nodes) else Nodes(url)


def _text(api_key: SecretStr | str | None) -> str | None:
    return api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key


def _options(nodes: Nodes, api_key: str | None, timeout_s: int, grpc_port: int) -> dict[str, Any]:
    headers = {"Accept-Encoding": "identity"}
    if api_key:
        # As a header: given as `api_key`, the client warns about plain HTTP every time, even on loopback.
        headers["api-key"] = api_key
    return {
        "url": nodes.first.url,
        "timeout": timeout_s,
        "headers": headers,
        # The client would warn at each start; `VersionLog` does so once, in the log.
        "check_compatibility": False,
        # The client's default for a local address is a new connection for each call.
        "limits": _LIMITS,
        "prefer_grpc": bool(grpc_port),
    }


def create_collection(
    client: QdrantClient,
    metadata: CollectionMetadata,
    *,
    dim: int,
    kinds: Mapping[str, AttributeKind],
    collection: str | None = None,
    several_pictures: bool = False,
    variants: bool = False,
    layout: Layout = DEFAULT_LAYOUT,
) -> str:
    """Create a collection with its payload indexes, or complete one that a crash left incomplete. Returns its name.

    With `several_pictures` a point has a list of vectors, one for each picture of its product, and its score is that of
    the picture that is nearest to the query. With `variants` products can be grouped by the id that variants share.

    The default name is the first generation of `metadata`. Indexes are created before the first point, because Qdrant
    then adds extra links to the search graph for each indexed value. An existing collection keeps its points and its
    metadata.
    """
    name = collection or collection_name(metadata.dataset, metadata.release_id)
    if not client.collection_exists(name):
        with unless_exists():  # another job may create it at the same moment
            client.create_collection(
                name,
                **layout.options(dim=dim, several_pictures=several_pictures),
                strict_mode_config=models.StrictModeConfig(
                    enabled=True,
                    max_query_limit=MAX_PRODUCTS_COUNTED if variants else MAX_QUERY_LIMIT,
                    unindexed_filtering_retrieve=False,
                    filter_max_conditions=200,
                ),
                metadata=replace(metadata, kinds=dict(kinds), **layout.as_dict()).as_dict(),
            )
    fields = index_fields(kinds)
    if variants:
        fields[VARIANT_FIELD] = "keyword"
    _add_indexes(client, name, client.get_collection(name), fields, layout)
    return name


def add_attributes(client: QdrantClient, collection: str, kinds: Mapping[str, AttributeKind]) -> None:
    """Make attributes filterable that are not yet, and record their kinds. Existing ones keep their kind, but a
    keyword may become a list of keywords, which has the same index.
    """
    described = client.get_collection(collection)
    info = CollectionInfo.parse(collection, described)
    known = {} if info is None else info.kinds
    new = {name: kind for name, kind in kinds.items() if name not in known}
    lists = {
        name: kind
        for name, kind in kinds.items()
        if kind is AttributeKind.KEYWORDS and known.get(name) is AttributeKind.KEYWORD
    }
    layout = DEFAULT_LAYOUT if info is None else info.layout
    _add_indexes(client, collection, described, index_fields(new), layout)
    if info is not None and (new or lists):
        changed = replace(info.metadata, kinds={**info.metadata.kinds, **new, **lists})
        client.update_collection(collection, metadata=changed.as_dict())


def _add_indexes(
    client: QdrantClient,
    collection: str,
    described: models.CollectionInfo,
    fields: Mapping[str, FieldType],
    layout: Layout,
) -> None:
    """Create the missing payload indexes of `fields` and of the system fields. Existing ones keep their type."""
    indexed = schema_of(described.payload_schema)
    for key, field_type in {**SYSTEM_FIELDS, **fields}.items():
        if key not in indexed:
            with unless_exists():
                schema = layout.index_schema(_SCHEMA_TYPES[field_type])
                client.create_payload_index(collection, json_path(key), field_schema=schema, wait=True)


def read_metadata(client: QdrantClient, collection: str) -> CollectionMetadata | None:
    """The metadata of a collection; None if Vitrine did not make it."""
    return CollectionMetadata.parse(client.get_collection(collection).config.metadata)


def mark_ready(
    client: QdrantClient, metadata: CollectionMetadata, *, expected: int, collection: str | None = None
) -> None:
    """Record that a collection passed verification, and how many points it had."""
    published_at = datetime.now(UTC).isoformat(timespec="seconds")
    ready = replace(metadata, state="ready", expected=expected, published_at=published_at)
    name = collection or collection_name(metadata.dataset, metadata.release_id)
    client.update_collection(name, metadata=ready.as_dict())


def payloads_of(records: Iterable[models.Record]) -> dict[str, dict[str, Any]]:
    """The payloads of points, by point id."""
    return {str(record.id): record.payload or {} for record in records}


def vectors_of(records: Iterable[models.Record]) -> dict[str, Vectors]:
    """The vectors of points, by point id: (pictures, dim) float32. Points without an unnamed vector are left out."""
    return {str(record.id): picture_vectors(record.vector) for record in records if isinstance(record.vector, list)}


def picture_vectors(vector: Any) -> Vectors:
    """The vectors of a point's pictures, (pictures, dim) float32, of a collection of either kind."""
    return np.atleast_2d(np.asarray(vector, dtype=np.float32))


class VersionLog:
    """Logs the notice about the server's version once, and again only if the version changes."""

    def __init__(self) -> None:
        self._logged: str | None = None

    def note(self, server: str) -> str | None:
        """The notice about the server's version; None if it matches the client's."""
        notice = version_notice(server)
        if notice is not None and server != self._logged:
            self._logged = server
            get_logger("qdrant").warning("qdrant_version", detail=notice)
        return notice


def version_notice(server: str, *, client: str = _CLIENT) -> str | None:
    """A notice about a server of this version; None if its minor version is the client's."""
    ours, theirs = _minor(client), _minor(server)
    if theirs is None or ours is None:
        return f"Qdrant reports the version {server[:40]!r}, which cannot be read; the client is {client}"
    if ours == theirs:
        return None
    apart = abs(ours[1] - theirs[1])
    if ours[0] == theirs[0] and apart == 1:
        return f"Qdrant is {server} and its client is {client}: one minor version apart, which is supported"
    return (
        f"Qdrant is {server} and its client is {client}: more than one minor version apart, which is not supported; "
        f"run Qdrant {ours[0]}.{ours[1]}"
    )


def _minor(text: str) -> tuple[int, int] | None:
    """(major, minor)."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])
