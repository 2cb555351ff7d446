"""The fields of a collection: the type each attribute is indexed as, and values brought to that type.

A payload index finds only values of its own type and says nothing of the others. So a value is stored in the type of
its field, and a field whose values have come to need a wider type (whole numbers, then decimals, then text) is indexed
in a new collection.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from vitrine.products import UNFILTERED_ATTRIBUTES, AttributeValue

FieldType = Literal["keyword", "integer", "float"]

MAX_FIELDS: Final = 256  # each costs a payload index, and that memory for good
_WHOLE_MAX: Final = 2**53  # beyond it a float is not exact
_INT64_MAX: Final = 2**63 - 1


def field_types(attributes: Iterable[Mapping[str, AttributeValue]]) -> dict[str, FieldType]:
    """The type each attribute is indexed as: integer or float where every value is a number, keyword otherwise.

    Free text (`name`) is left out: it is shown, not filtered on.
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


def fitted(
    attributes: Mapping[str, AttributeValue], fields: Mapping[str, FieldType]
) -> tuple[dict[str, AttributeValue], tuple[str, ...]]:
    """The attributes with each value in its field's type, and the names of those that no value of that type says.

    The latter keep the value they have: they are shown, and no filter finds them.
    """
    found: dict[str, AttributeValue] = {}
    misfits = []
    for name, value in attributes.items():
        kind = fields.get(name)
        brought = value if kind is None else _brought(value, kind)
        if brought is None:
            misfits.append(name)
            brought = value
        found[name] = brought
    return found, tuple(misfits)


def _type_of(value: AttributeValue) -> FieldType:
    return "keyword" if isinstance(value, str) else "float" if isinstance(value, float) else "integer"


def _brought(value: AttributeValue, kind: FieldType) -> AttributeValue | None:
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
    """A number as a catalogue writes it: `37` and not `37.0`."""
    return str(int(value)) if float(value).is_integer() and abs(value) <= _WHOLE_MAX else str(value)
