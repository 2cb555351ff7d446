"""Attributes as they come in a put: checked names, and values of the type the collection has the field indexed as."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from vitrine.collections import FieldType
from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeValue, check_attribute_name

MAX_VALUE_CHARS: Final = 1_000
_INT64_MAX: Final = 2**63 - 1


def typed_attributes(
    fields: Sequence[tuple[str, str]], schema: Mapping[str, FieldType], *, max_attributes: int
) -> dict[str, AttributeValue]:
    """Text fields as attributes. An empty value is a missing one and is left out.

    Raises ParameterInvalid for a bad name, one that comes twice, or a value that does not fit the field.
    """
    attributes: dict[str, AttributeValue] = {}
    for name, text in fields:
        check_attribute_name(name)
        if name in attributes:
            raise ParameterInvalid(f"the attribute {name!r} is given more than once")
        if text.strip():
            attributes[name] = _typed(name, text.strip(), schema.get(name, "keyword"))
    return _bounded(attributes, max_attributes)


def changed_attributes(
    present: Mapping[str, AttributeValue],
    changes: Mapping[str, AttributeValue | None],
    schema: Mapping[str, FieldType],
    *,
    max_attributes: int,
) -> dict[str, AttributeValue]:
    """`present` with the changes: null takes an attribute away. Raises ParameterInvalid as `typed_attributes` does."""
    attributes = dict(present)
    for name, value in changes.items():
        check_attribute_name(name)
        if value is None or value == "":
            attributes.pop(name, None)
        else:
            attributes[name] = _typed(name, str(value), schema.get(name, "keyword"))
    return _bounded(attributes, max_attributes)


def _typed(name: str, text: str, kind: FieldType) -> AttributeValue:
    if len(text) > MAX_VALUE_CHARS:
        raise ParameterInvalid(f"the value of {name!r} is longer than {MAX_VALUE_CHARS} characters")
    if kind == "keyword":
        return text
    try:
        number = float(text)
        whole = int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        raise ParameterInvalid(f"{name!r} is a number in this dataset; {text[:40]!r} is not") from None
    if not math.isfinite(number) or abs(number) > _INT64_MAX:
        raise ParameterInvalid(f"{name!r} is a number in this dataset; {text[:40]!r} is out of range")
    if kind == "float":
        return number
    if whole is None:
        raise ParameterInvalid(f"{name!r} is a whole number in this dataset; {text[:40]!r} is not")
    return whole


def _bounded(attributes: dict[str, AttributeValue], max_attributes: int) -> dict[str, AttributeValue]:
    if len(attributes) > max_attributes:
        raise ParameterInvalid(f"a product has at most {max_attributes} attributes")
    return attributes
