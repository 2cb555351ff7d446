"""Parse the attributes of a put: check names, and convert values to the type of the indexed field. Reserved names are
renamed as in a catalogue, and the answer reports it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vitrine.catalogs.columns import column_reader
from vitrine.errors import ParameterInvalid
from vitrine.products import (
    IDENTITY_NAMES,
    UNFILTERED_ATTRIBUTES,
    AttributeValue,
    check_attribute_name,
    stored_name,
    why_renamed,
)
from vitrine.qdrant.schema import MAX_FIELDS, FieldType
from vitrine.web.problems import MAX_FAULT_CHARS

MAX_ATTRIBUTES: Final = 64
MAX_VALUE_CHARS: Final = 1_000
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Put:
    """The attributes of a product after a put. `notices` report renamed attributes."""

    attributes: dict[str, AttributeValue]
    notices: tuple[str, ...]


def typed_attributes(fields: Sequence[tuple[str, str]], schema: Mapping[str, FieldType], *, max_attributes: int) -> Put:
    """Convert text fields to attributes. Empty values are left out.

    The type of a new field is inferred as for a catalogue's column: a whole number, a number or text. Raises
    ParameterInvalid for an invalid or repeated name, or a value that does not fit the field.
    """
    names = _stored_names((name for name, _ in fields), schema)
    attributes: dict[str, AttributeValue] = {}
    for given, text in fields:
        name = names[given]
        if name in attributes:
            raise _refused(given, f"the attribute {given!r} is given more than once")
        if not text.strip():
            continue
        known = _typed(name, text.strip(), schema[name]) if name in schema else None
        read = known if known is not None else column_reader(name, [text.strip()])(text.strip())
        if read is None:
            raise _refused(name, f"the attribute {name!r} is a year, such as 2012; {text[:40]!r} is not")
        attributes[name] = _bounded(name, read)
    return _put(attributes, names, schema, max_attributes)


def changed_attributes(
    present: Mapping[str, AttributeValue],
    changes: Mapping[str, AttributeValue | None],
    schema: Mapping[str, FieldType],
    *,
    max_attributes: int,
) -> Put:
    """`present` with the changes; None removes an attribute. A new field gets the type of its JSON value. Raises
    ParameterInvalid as `typed_attributes` does.
    """
    names = _stored_names(changes, schema)
    attributes = dict(present)
    for given, value in changes.items():
        name = names[given]
        if value is None or value == "":
            attributes.pop(name, None)
        elif name in schema:
            attributes[name] = _bounded(name, _typed(name, str(value), schema[name]))
        else:
            attributes[name] = _bounded(name, value)
    return _put(attributes, names, schema, max_attributes)


def _stored_names(given: Iterable[str], schema: Mapping[str, FieldType]) -> dict[str, str]:
    names = {}
    for name in given:
        if name in IDENTITY_NAMES:
            raise ParameterInvalid(
                f"{name!r} is not an attribute: the id is in the address, the dataset in the query "
                "(`?dataset=NAME`), and the picture is the form's file 'image'"
            )
        try:
            names[name] = check_attribute_name(stored_name(name, [*schema]))
        except ParameterInvalid as error:
            raise _refused(name, error.detail) from None
    return names


def _put(
    attributes: dict[str, AttributeValue],
    names: Mapping[str, str],
    schema: Mapping[str, FieldType],
    max_attributes: int,
) -> Put:
    if len(attributes) > max_attributes:
        raise ParameterInvalid(f"a product has at most {max_attributes} attributes")
    new = attributes.keys() - schema.keys() - UNFILTERED_ATTRIBUTES
    if new and len(schema) + len(new) > MAX_FIELDS:
        raise ParameterInvalid(
            f"a dataset has at most {MAX_FIELDS} attributes to filter by, and this would add {len(new)} to its "
            f"{len(schema)}: {', '.join(sorted(new)[:10])}"
        )
    renamed = tuple(
        f"the attribute {given!r} is stored as {stored!r}: {why_renamed(given)}"
        for given, stored in names.items()
        if stored != given
    )
    return Put(attributes, renamed)


def _typed(name: str, text: str, kind: FieldType) -> AttributeValue:
    if kind == "keyword":
        return text
    try:
        number = float(text)
        whole = int(text) if text.lstrip("+-").isdigit() else int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        raise _refused(name, f"{name!r} is a number in this dataset; {text[:40]!r} is not") from None
    if not math.isfinite(number):
        raise _refused(name, f"{name!r} is a number in this dataset; {text[:40]!r} is out of range")
    if kind == "float":
        return number
    if whole is None:
        raise _refused(
            name,
            f"{name!r} is a whole number in this dataset; {text[:40]!r} is not. A catalogue that has such a value "
            "changes the type when it is indexed",
        )
    return whole


def _refused(name: str, detail: str) -> ParameterInvalid:
    """An error with the name of the attribute, so that a form can show it at the field."""
    return ParameterInvalid(detail, errors=[{"where": name[:MAX_FAULT_CHARS], "message": detail}])


def _bounded(name: str, value: AttributeValue) -> AttributeValue:
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
        raise _refused(name, f"the value of {name!r} is longer than {MAX_VALUE_CHARS} characters")
    if not isinstance(value, str | list) and abs(value) > _INT64_MAX:
        raise _refused(name, f"the value of {name!r} is out of range: {str(value)[:40]}")
    return value
