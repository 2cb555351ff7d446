"""Parse the attributes of a put: check names, and convert values to the type of the indexed field. Reserved names are
renamed as in a catalogue, and the answer reports it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vitrine.catalogs.columns import read_as, read_single
from vitrine.errors import ParameterInvalid
from vitrine.kinds import converted_value, filterable, text_of
from vitrine.products import (
    IDENTITY_NAMES,
    UNFILTERED_ATTRIBUTES,
    AttributeKind,
    AttributeValue,
    check_attribute_name,
    stored_name,
    why_renamed,
)
from vitrine.qdrant.schema import MAX_FIELDS
from vitrine.web.problems import MAX_FAULT_CHARS

MAX_ATTRIBUTES: Final = 64
VARIANT_OF: Final = "variantOf"
MAX_VALUE_CHARS: Final = 1_000
MAX_VALUES: Final = 64  # of a list
_LISTS: Final = (AttributeKind.KEYWORDS, AttributeKind.PATH)
_INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Put:
    """The attributes of a product after a put. `notices` report renamed attributes."""

    attributes: dict[str, AttributeValue]
    notices: tuple[str, ...]


def typed_attributes(
    fields: Sequence[tuple[str, str]], kinds: Mapping[str, AttributeKind], *, max_attributes: int
) -> Put:
    """Convert text fields to attributes. Empty values are left out.

    The kind of a new attribute is inferred as for a catalogue's column. A text that is given more than once becomes a
    list. Raises ParameterInvalid for an invalid name, a repeated one that is not text, or a value that does not fit.
    """
    fields = [one for field in fields for one in _fields_of(*field)]
    names = _stored_names((name for name, _ in fields), kinds)
    attributes: dict[str, AttributeValue] = {}
    for given, text in fields:
        name = names[given]
        if not text.strip():
            continue
        if name in attributes:
            attributes[name] = [*_several(given, attributes[name], kinds.get(name)), text.strip()]
            continue
        known = _typed(name, text.strip(), kinds[name]) if name in kinds else None
        read = known if known is not None else read_single(name, text)
        if read is None:
            raise _refused(name, f"the attribute {name!r} is a year, such as 2012; {text[:40]!r} is not")
        attributes[name] = _bounded(name, read)
    return _put(attributes, names, kinds, max_attributes)


def _fields_of(name: str, text: str) -> Iterator[tuple[str, str]]:
    """The field itself, or the members of a field `attributes` with a JSON object, as in the JSON form of the call."""
    if name != "attributes" or not text.lstrip().startswith("{"):
        yield name, text
        return
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise _refused(name, f"the form's field 'attributes' is no JSON object: {text[:40]!r}") from None
    for member, value in members.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict | list):
                raise _refused(member, f"the attribute {member!r} is {str(one)[:40]}, not a text, a number or a list")
            if one is not None:
                yield member, text_of(one)


def _several(name: str, value: AttributeValue, kind: AttributeKind | None) -> list[str]:
    """The values so far of an attribute that is given more than once."""
    if not isinstance(value, str | list) or kind not in (None, AttributeKind.KEYWORD, *_LISTS):
        raise _refused(name, f"the attribute {name!r} is given more than once")
    return value if isinstance(value, list) else [value]


def split_variant(fields: Sequence[tuple[str, str]]) -> tuple[str | None, list[tuple[str, str]]]:
    """(the field `variantOf` of a put if it has a value, the attributes). Raises ParameterInvalid."""
    given = [value.strip() for name, value in fields if name == VARIANT_OF]
    if len(given) > 1:
        raise _refused(VARIANT_OF, f"{VARIANT_OF!r} is given more than once")
    return (given[0] if given else "") or None, [pair for pair in fields if pair[0] != VARIANT_OF]


def changed_attributes(
    present: Mapping[str, AttributeValue],
    changes: Mapping[str, AttributeValue | None],
    kinds: Mapping[str, AttributeKind],
    *,
    max_attributes: int,
) -> Put:
    """`present` with the changes; None removes an attribute. A new field gets the type of its JSON value. Raises
    ParameterInvalid as `typed_attributes` does.
    """
    names = _stored_names(changes, kinds)
    attributes = dict(present)
    for given, value in changes.items():
        name = names[given]
        if value is None or value == "":
            attributes.pop(name, None)
        elif name in kinds:
            typed = _listed(name, value, kinds[name]) if isinstance(value, list) else text_of(value)
            attributes[name] = _bounded(name, typed if isinstance(typed, list) else _typed(name, typed, kinds[name]))
        else:
            attributes[name] = _bounded(name, value)
    return _put(attributes, names, kinds, max_attributes)


def _stored_names(given: Iterable[str], kinds: Mapping[str, AttributeKind]) -> dict[str, str]:
    names = {}
    for name in given:
        if name in IDENTITY_NAMES:
            raise ParameterInvalid(
                f"{name!r} is not an attribute: the id is in the address, the dataset in the query "
                "(`?dataset=NAME`), and the picture is the form's file 'image'"
            )
        if name == VARIANT_OF:
            raise _refused(name, f"{name!r} is not an attribute: give it beside 'attributes'")
        try:
            names[name] = check_attribute_name(stored_name(name, [*kinds]))
        except ParameterInvalid as error:
            raise _refused(name, error.detail) from None
    return names


def _put(
    attributes: dict[str, AttributeValue],
    names: Mapping[str, str],
    kinds: Mapping[str, AttributeKind],
    max_attributes: int,
) -> Put:
    if len(attributes) > max_attributes:
        raise ParameterInvalid(f"a product has at most {max_attributes} attributes")
    known = filterable(kinds)
    new = attributes.keys() - kinds.keys() - UNFILTERED_ATTRIBUTES
    if new and len(known) + len(new) > MAX_FIELDS:
        raise ParameterInvalid(
            f"a dataset has at most {MAX_FIELDS} attributes to filter by, and this would add {len(new)} to its "
            f"{len(known)}: {', '.join(sorted(new)[:10])}"
        )
    renamed = tuple(
        f"the attribute {given!r} is stored as {stored!r}: {why_renamed(given)}"
        for given, stored in names.items()
        if stored != given
    )
    return Put(attributes, renamed)


def _typed(name: str, text: str, kind: AttributeKind) -> AttributeValue:
    """The value that a text means, in the spellings of catalogues: `19,90 €`, `yes`, `Red|Blue`, `15.01.2024`."""
    if kind is AttributeKind.INTEGER and text.lstrip("+-").isdigit():
        return int(text)
    if kind in (AttributeKind.INTEGER, AttributeKind.DECIMAL):
        value: AttributeValue | None = _number(name, text)
    else:
        value = read_as(kind, text)
    # A year or a month alone is a date too.
    converted = converted_value(text if value is None else value, kind)
    if converted is not None:
        return converted
    if kind is AttributeKind.INTEGER:
        raise _refused(
            name,
            f"{name!r} is a whole number in this dataset; {text[:40]!r} is not. A catalogue that has such a value "
            "changes the type when it is indexed",
        )
    meaning = "a date, such as 2024-01-15," if kind is AttributeKind.DATE else "true or false"
    raise _refused(name, f"{name!r} is {meaning} in this dataset; {text[:40]!r} is not")


def _listed(name: str, values: list[str], kind: AttributeKind) -> list[str]:
    if kind not in (AttributeKind.KEYWORD, *_LISTS):
        raise _refused(name, f"{name!r} has one value in this dataset ({kind.value}), not a list")
    return values


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        priced = read_as(AttributeKind.DECIMAL, text)
        if not isinstance(priced, float):
            raise _refused(name, f"{name!r} is a number in this dataset; {text[:40]!r} is not") from None
        return priced
    if not math.isfinite(number):
        raise _refused(name, f"{name!r} is a number in this dataset; {text[:40]!r} is out of range")
    return number


def _refused(name: str, detail: str) -> ParameterInvalid:
    """An error with the name of the attribute, so that a form can show it at the field."""
    return ParameterInvalid(detail, errors=[{"where": name[:MAX_FAULT_CHARS], "message": detail}])


def _bounded(name: str, value: AttributeValue) -> AttributeValue:
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
        raise _refused(name, f"the value of {name!r} is longer than {MAX_VALUE_CHARS} characters")
    if isinstance(value, list) and (len(value) > MAX_VALUES or any(len(one) > MAX_VALUE_CHARS for one in value)):
        raise _refused(name, f"{name!r} has more than {MAX_VALUES} values, or one longer than {MAX_VALUE_CHARS}")
    if not isinstance(value, str | list) and abs(value) > _INT64_MAX:
        raise _refused(name, f"the value of {name!r} is out of range: {str(value)[:40]}")
    return value
