"""The payload indexes of a collection, the kinds of its attributes, and its metadata.

The kind of an attribute decides the type of its index, and a payload index finds values of its own type only. If an
attribute's kind changes, it is indexed in a new collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from qdrant_client import models

from vitrine.kinds import filterable, kinds_from
from vitrine.products import (
    ADDED_AT_FIELD,
    COMPOSITE_FIELD,
    HIDDEN_FIELDS,
    PATHS_FIELD,
    VARIANT_FIELD,
    AttributeKind,
)
from vitrine.qdrant.plans import MeasuredPlans
from vitrine.qdrant.profiles import Layout

FieldType = Literal["keyword", "integer", "float", "bool", "datetime"]
CollectionState = Literal["building", "ready"]

METADATA_VERSION: Final = 1
MAX_FIELDS: Final = 256  # each has a payload index, which takes memory for good
# Filterable in every collection, beside the catalogue's attributes.
SYSTEM_FIELDS: Final[Mapping[str, FieldType]] = {
    "product_id": "keyword",
    "origin": "keyword",
    COMPOSITE_FIELD: "keyword",
    ADDED_AT_FIELD: "integer",
}
_INDEX_TYPES: Final[Mapping[AttributeKind, FieldType]] = {
    AttributeKind.KEYWORD: "keyword",
    AttributeKind.KEYWORDS: "keyword",
    AttributeKind.PATH: "keyword",
    AttributeKind.INTEGER: "integer",
    AttributeKind.DECIMAL: "float",
    AttributeKind.BOOLEAN: "bool",
    AttributeKind.DATE: "datetime",
}
# The kind of an attribute whose kind was not recorded.
_KINDS: Final[Mapping[FieldType, AttributeKind]] = {
    "keyword": AttributeKind.KEYWORD,
    "integer": AttributeKind.INTEGER,
    "float": AttributeKind.DECIMAL,
    "bool": AttributeKind.BOOLEAN,
    "datetime": AttributeKind.DATE,
}
_PATHS: Final = f"{PATHS_FIELD}."
_FIELD_TYPES: Final[Mapping[str, FieldType]] = {kind: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class CollectionMetadata:
    """The metadata that Vitrine stores with a collection. `ready`: it passed verification at least once.

    `kinds` has the kind of each attribute; collections of older versions have none. `mapping` has the column that each
    role (`id`, `picture`) or attribute is read from, where that was chosen. `profile`, `shards` and `replicas` are the
    layout that the collection was made with, `plans` what searches in it were measured to cost and find.
    """

    dataset: str
    model: str
    release_id: str
    catalog: str
    root: str
    state: CollectionState
    expected: int = 0
    published_at: str | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    profile: str = "exact"
    shards: int = 1
    replicas: int = 1
    plans: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, metadata: Mapping[str, Any] | None) -> CollectionMetadata | None:
        """The metadata of a collection; None if Vitrine did not make it."""
        if not metadata or metadata.get("vitrine") != METADATA_VERSION:
            return None
        return cls(**{name: metadata[name] for name in cls.__dataclass_fields__ if name in metadata})

    def as_dict(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"vitrine": METADATA_VERSION, **fields}


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection of Vitrine. `dim` is 0 if it has named vectors.

    `schema` has the types of the payload indexes. The index of a category path is named `paths_.NAME`. `points` is
    approximate and does not count in comparisons. `several_pictures`: a point has a list of vectors, one for each
    picture of its product. `quantized`: vectors are also kept in fewer bits, which a search reads first.
    `measured` does not count in comparisons either.
    """

    name: str
    dim: int
    points: int = field(compare=False)
    schema: Mapping[str, FieldType]
    metadata: CollectionMetadata
    several_pictures: bool = False
    quantized: bool = False
    measured: MeasuredPlans | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, name: str, info: models.CollectionInfo) -> CollectionInfo | None:
        """From Qdrant's description; None if Vitrine did not make the collection."""
        metadata = CollectionMetadata.parse(info.config.metadata)
        if metadata is None:
            return None
        vectors = info.config.params.vectors
        unnamed = vectors if isinstance(vectors, models.VectorParams) else None
        return cls(
            name=name,
            dim=unnamed.size if unnamed is not None else 0,
            points=info.points_count or 0,
            schema=schema_of(info.payload_schema),
            metadata=metadata,
            several_pictures=unnamed is not None and unnamed.multivector_config is not None,
            quantized=info.config.quantization_config is not None,
            measured=MeasuredPlans.parse(metadata.plans),
        )

    @property
    def layout(self) -> Layout:
        """How the collection is stored."""
        return Layout.of({name: getattr(self.metadata, name) for name in ("profile", "shards", "replicas")})

    @property
    def variants(self) -> bool:
        """Whether the collection knows which products are variants of one product."""
        return VARIANT_FIELD in self.schema

    @property
    def kinds(self) -> dict[str, AttributeKind]:
        """The kind of each attribute of the catalogue, free text included."""
        recorded = kinds_from(self.metadata.kinds)
        kinds: dict[str, AttributeKind] = dict.fromkeys(recorded.keys() - filterable(recorded), AttributeKind.TEXT)
        for key, index_type in self.schema.items():
            if key in SYSTEM_FIELDS or key in HIDDEN_FIELDS:
                continue
            name = key.removeprefix(_PATHS)
            kind = AttributeKind.PATH if name != key else _KINDS[index_type]
            known = recorded.get(name)
            # What is indexed decides; the record tells a list from a single keyword.
            same = known is not None and field_key(name, known) == key and _INDEX_TYPES.get(known) == index_type
            kinds[name] = known if known is not None and same else kind
        return kinds

    @property
    def filters(self) -> dict[str, AttributeKind]:
        """The kind of everything that filters may name, and of free text, which they may not."""
        own = {name: _KINDS[kind] for name, kind in self.schema.items() if name in SYSTEM_FIELDS.keys() - HIDDEN_FIELDS}
        return own | self.kinds


def index_fields(kinds: Mapping[str, AttributeKind]) -> dict[str, FieldType]:
    """The payload indexes of attributes: the key in the payload and the type of each."""
    return {field_key(name, kind): _INDEX_TYPES[kind] for name, kind in filterable(kinds).items()}


def field_key(name: str, kind: AttributeKind = AttributeKind.KEYWORD) -> str:
    """The payload member that an attribute is filtered by."""
    return f"{_PATHS}{name}" if kind is AttributeKind.PATH else name


def json_path(key: str) -> str:
    """A payload member as Qdrant's paths name it: names with other characters than letters and digits are quoted."""
    prefix, name = (_PATHS, key.removeprefix(_PATHS)) if key.startswith(_PATHS) else ("", key)
    plain = all(character.isalnum() or character in "_-" for character in name)
    return f"{prefix}{name}" if plain else f'{prefix}"{name}"'


def schema_of(payload_schema: Mapping[str, models.PayloadIndexInfo]) -> dict[str, FieldType]:
    """The payload indexes of a collection, by the payload member."""
    types: dict[str, FieldType] = {}
    for key, info in payload_schema.items():
        index_type = _FIELD_TYPES.get(info.data_type.value)
        if index_type is not None:
            types[key.replace('"', "")] = index_type
    return types
