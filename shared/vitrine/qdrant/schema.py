"""The fields of a collection, their types, and its metadata.

A payload index finds values of its own type only and ignores all others. So values are stored in their field's type. If
new values need a wider type (whole numbers, then decimals, then text), the field is indexed in a new collection.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from qdrant_client import models

from vitrine.products import ADDED_AT_FIELD, COMPOSITE_FIELD, UNFILTERED_ATTRIBUTES, AttributeValue

FieldType = Literal["keyword", "integer", "float"]
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
_WHOLE_MAX: Final = 2**53  # beyond it a float is not exact
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CollectionMetadata:
    """The metadata that Vitrine stores with a collection. `ready`: it passed verification at least once."""

    dataset: str
    model: str
    release_id: str
    catalog: str
    root: str
    state: CollectionState
    expected: int = 0
    published_at: str | None = None
    # The columns that the catalogue's owner named for roles and attributes; see `read_catalog`.
    mapping: Mapping[str, str] = field(default_factory=dict)

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
    """A collection of Vitrine. `dim` is 0 if it has other than one plain vector; `schema` holds the filterable fields.

    `points` is approximate and does not count in comparisons.
    """

    name: str
    dim: int
    points: int = field(compare=False)
    schema: Mapping[str, FieldType]
    metadata: CollectionMetadata

    @classmethod
    def parse(cls, name: str, info: models.CollectionInfo) -> CollectionInfo | None:
        """From Qdrant's description; None if Vitrine did not make the collection."""
        metadata = CollectionMetadata.parse(info.config.metadata)
        if metadata is None:
            return None
        vectors = info.config.params.vectors
        return cls(
            name=name,
            dim=vectors.size if isinstance(vectors, models.VectorParams) else 0,
            points=info.points_count or 0,
            schema=schema_of(info.payload_schema),
            metadata=metadata,
        )

    @property
    def fields(self) -> dict[str, FieldType]:
        """The fields that are attributes of the catalogue."""
        return {name: kind for name, kind in self.schema.items() if name not in SYSTEM_FIELDS}


def schema_of(payload_schema: Mapping[str, models.PayloadIndexInfo]) -> dict[str, FieldType]:
    """The filterable fields of a collection, by its payload indexes."""
    types: dict[str, FieldType] = {}
    for name, info in payload_schema.items():
        kind = info.data_type.value
        if kind == "keyword":
            types[name] = "keyword"
        elif kind == "integer":
            types[name] = "integer"
        elif kind == "float":
            types[name] = "float"
    return types


def field_types(attributes: Iterable[Mapping[str, AttributeValue]]) -> dict[str, FieldType]:
    """The type of each attribute's field: integer or float if every value is a number, keyword otherwise.

    Free text (`name`) is left out: it is shown, not filtered by.
    """
    types: dict[str, FieldType] = {}
    for product in attributes:
        for name, value in product.items():
            if name not in UNFILTERED_ATTRIBUTES:
                found = _type_of(value)
                types[name] = wider(types.get(name, found), found)
    return types


def wider(one: FieldType, other: FieldType) -> FieldType:
    """The type that values of both types can be indexed as."""
    if one == other:
        return one
    return "keyword" if "keyword" in (one, other) else "float"


def narrower(one: FieldType, other: FieldType) -> FieldType:
    """The type whose values can be indexed as both types."""
    return min(one, other, key=("integer", "float", "keyword").index)


def widened(fields: Mapping[str, FieldType], others: Mapping[str, FieldType]) -> dict[str, FieldType]:
    """The fields of both, each in a type that fits the values of both."""
    return {name: wider(fields.get(name, kind), others.get(name, kind)) for name, kind in {**fields, **others}.items()}


def convert_attributes(
    attributes: Mapping[str, AttributeValue], fields: Mapping[str, FieldType]
) -> tuple[dict[str, AttributeValue], tuple[str, ...]]:
    """The attributes with each value converted to its field's type, and the names of those that cannot be converted.

    The latter keep their value: they are shown, but no filter finds them.
    """
    found: dict[str, AttributeValue] = {}
    misfits = []
    for name, value in attributes.items():
        kind = fields.get(name)
        converted = value if kind is None else _converted(value, kind)
        if converted is None:
            misfits.append(name)
            converted = value
        found[name] = converted
    return found, tuple(misfits)


def _type_of(value: AttributeValue) -> FieldType:
    return "keyword" if isinstance(value, str) else "float" if isinstance(value, float) else "integer"


def _converted(value: AttributeValue, kind: FieldType) -> AttributeValue | None:
    if isinstance(value, list):
        return value if kind == "keyword" else None
    if kind == "keyword":
        return value if isinstance(value, str) else _text_of(value)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    if kind == "float":
        return number
    if isinstance(value, int):
        return value
    return int(number) if number.is_integer() and abs(number) <= _INT64_MAX else None


def _text_of(value: float) -> str:
    """A number as catalogues write it: `37`, not `37.0`."""
    return str(int(value)) if float(value).is_integer() and abs(value) <= _WHOLE_MAX else str(value)
