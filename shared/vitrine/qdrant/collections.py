"""Collections and aliases: collections of a dataset and release, one alias a dataset and model.

A vector has meaning only beside the release that made it, so the names carry both, and everything that searches goes
from alias to collection to release once, then uses all three together. An alias moves in one request, so that a reader
sees the old collection or the new one and never neither.

    <dataset>--<release_id>       the first generation
    <dataset>--<release_id>--2    a further one, made beside it where the fields or the catalogue are other ones
    <dataset>--<model>            the alias
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from qdrant_client import QdrantClient, models

from vitrine.errors import ParameterInvalid
from vitrine.products import ADDED_AT_FIELD, COMPOSITE_FIELD, check_dataset_name, check_model_name
from vitrine.qdrant.errors import unless_there
from vitrine.qdrant.fields import FieldType as FieldType

SEPARATOR: Final = "--"
METADATA_VERSION: Final = 1
_GENERATION = re.compile(r"[2-9]|[1-9][0-9]{1,8}")
RELEASE_ID = re.compile(r"(?P<model>[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,119})-(?P<digest>[0-9a-f]{10})")

CollectionState = Literal["building", "ready"]

_SCHEMA_TYPES: Final[Mapping[FieldType, models.PayloadSchemaType]] = {
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.PayloadSchemaType.INTEGER,
    "float": models.PayloadSchemaType.FLOAT,
}
# Filterable in every collection, whatever the catalogue's columns are.
_OWN_FIELDS: Final[Mapping[str, FieldType]] = {
    "product_id": "keyword",
    "origin": "keyword",
    COMPOSITE_FIELD: "keyword",
    ADDED_AT_FIELD: "integer",
}


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers for a model in a dataset: the release that embeds, and the collection of its vectors."""

    dataset: str
    model: str
    release_id: str
    collection: str


@dataclass(frozen=True, slots=True)
class CollectionMetadata:
    """What a collection knows of itself. `ready` means that it passed verification at least once."""

    dataset: str
    model: str
    release_id: str
    catalog: str
    root: str
    state: CollectionState
    expected: int = 0
    published_at: str | None = None

    @classmethod
    def parse(cls, metadata: Mapping[str, Any] | None) -> CollectionMetadata | None:
        """The metadata of a collection of ours, or None for one that somebody else made."""
        if not metadata or metadata.get("vitrine") != METADATA_VERSION:
            return None
        return cls(**{name: metadata[name] for name in cls.__dataclass_fields__ if name in metadata})

    def as_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"vitrine": METADATA_VERSION, **fields}


def model_of_release(release_id: str) -> str:
    """The model a release id names. Raises ParameterInvalid where it is not of the form `<model>-<10 hex digits>`."""
    match = RELEASE_ID.fullmatch(release_id)
    if match is None:
        raise ParameterInvalid(f"{release_id[:80]!r} is not a release id: it is <model>-<10 hex digits>")
    return match["model"]


def collection_name(dataset: str, release_id: str, generation: int = 1) -> str:
    """A collection of a dataset's vectors in one release's space; generations count from 1."""
    model_of_release(release_id)
    name = f"{check_dataset_name(dataset)}{SEPARATOR}{release_id}"
    return name if generation == 1 else f"{name}{SEPARATOR}{generation}"


def alias_name(dataset: str, model: str) -> str:
    """The alias that names the serving collection of a dataset and model."""
    return f"{check_dataset_name(dataset)}{SEPARATOR}{check_model_name(model)}"


def parse_collection_name(name: str) -> tuple[str, str] | None:
    """(dataset, release_id) of a collection of any generation, or None if Vitrine did not make it."""
    dataset, separator, rest = name.partition(SEPARATOR)
    release_id, further, generation = rest.partition(SEPARATOR)
    if not separator or not dataset or RELEASE_ID.fullmatch(release_id) is None:
        return None
    if further and _GENERATION.fullmatch(generation) is None:
        return None
    return dataset, release_id


def generation_of(name: str) -> int:
    """The generation of one of Vitrine's collections."""
    parts = name.split(SEPARATOR)
    return int(parts[2]) if len(parts) == 3 else 1


def serving_of(alias: str, collection: str) -> Serving | None:
    """What an alias serves, or None where alias and collection do not belong together and so must not be searched."""
    parsed = parse_collection_name(collection)
    if parsed is None:
        return None
    dataset, release_id = parsed
    model = model_of_release(release_id)
    if alias != alias_name(dataset, model):
        return None
    return Serving(dataset=dataset, model=model, release_id=release_id, collection=collection)


def servings(aliases: Iterable[models.AliasDescription]) -> list[Serving]:
    """Everything that serves, ordered by dataset and model."""
    found = (serving_of(alias.alias_name, alias.collection_name) for alias in aliases)
    return sorted((serving for serving in found if serving), key=lambda serving: (serving.dataset, serving.model))


def create_collection(
    client: QdrantClient,
    metadata: CollectionMetadata,
    *,
    dim: int,
    fields: Mapping[str, FieldType],
    collection: str | None = None,
) -> str:
    """Create a collection, by default the first generation of `metadata`, with its payload indexes, or complete one
    that a crash left half made.

    Indexes are made before any point is there: Qdrant then gives the search graph extra links for each indexed value.
    Returns the collection's name. An existing collection keeps its points and its metadata.
    """
    name = collection or collection_name(metadata.dataset, metadata.release_id)
    if not client.collection_exists(name):
        with unless_there():  # another indexing may create it at the same moment
            client.create_collection(
                name,
                vectors_config=models.VectorParams(size=dim, distance=models.Distance.COSINE),
                strict_mode_config=models.StrictModeConfig(
                    enabled=True, max_query_limit=1000, unindexed_filtering_retrieve=False, filter_max_conditions=200
                ),
                metadata=metadata.as_dict(),
            )
    add_fields(client, name, fields)
    return name


def add_fields(client: QdrantClient, collection: str, fields: Mapping[str, FieldType]) -> None:
    """Make the payload indexes of those fields, and of Vitrine's own, that the collection does not have indexed yet, in
    whatever type.
    """
    indexed = client.get_collection(collection).payload_schema
    for field, field_type in {**_OWN_FIELDS, **fields}.items():
        if field not in indexed:
            with unless_there():
                client.create_payload_index(collection, field, field_schema=_SCHEMA_TYPES[field_type], wait=True)


def attribute_fields(schema: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """The fields of a collection's schema that are attributes, and not Vitrine's own."""
    return {name: kind for name, kind in schema.items() if name not in _OWN_FIELDS}


def read_metadata(client: QdrantClient, collection: str) -> CollectionMetadata | None:
    """The metadata of the collection, or None if Vitrine did not make it."""
    return CollectionMetadata.parse(client.get_collection(collection).config.metadata)


def mark_ready(
    client: QdrantClient, metadata: CollectionMetadata, *, expected: int, collection: str | None = None
) -> None:
    """Record that the collection passed its checks and how many points it held then."""
    ready = CollectionMetadata(
        dataset=metadata.dataset,
        model=metadata.model,
        release_id=metadata.release_id,
        catalog=metadata.catalog,
        root=metadata.root,
        state="ready",
        expected=expected,
        published_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    name = collection or collection_name(metadata.dataset, metadata.release_id)
    client.update_collection(name, metadata=ready.as_dict())


def switch_operations(
    aliases: Iterable[models.AliasDescription], serving: Serving
) -> tuple[list[models.CreateAliasOperation | models.DeleteAliasOperation], str | None]:
    """The operations, for one request, that make `serving` serve, and the collection that serves now, if any."""
    alias = alias_name(serving.dataset, serving.model)
    previous = next((known.collection_name for known in aliases if known.alias_name == alias), None)
    operations: list[models.CreateAliasOperation | models.DeleteAliasOperation] = []
    if previous is not None:
        operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    create = models.CreateAlias(collection_name=serving.collection, alias_name=alias)
    operations.append(models.CreateAliasOperation(create_alias=create))
    return operations, previous


def switch_alias(client: QdrantClient, serving: Serving) -> str | None:
    """Make `serving` serve, in one request. Returns the collection that served before, kept for rollback."""
    operations, previous = switch_operations(client.get_aliases().aliases, serving)
    if previous != serving.collection:
        client.update_collection_aliases(change_aliases_operations=operations)
    return previous
