"""Kinds of attributes: found from values, merged, and values converted to the form in which a kind is stored.

A payload index finds values of its own type only, so every value is stored in the form of its attribute's kind: dates
as ISO 8601 text, lists as lists, category paths as `Clothing > Dresses`.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vitrine.products import PATHS_FIELD, UNFILTERED_ATTRIBUTES, AttributeKind, AttributeValue

TRUE_WORDS: Final = frozenset({"true", "yes", "1"})
FALSE_WORDS: Final = frozenset({"false", "no", "0"})
# Catalogues write these for an unknown value.
UNKNOWN_WORDS: Final = frozenset(
    {"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "Null", "None", "nan", "NaN", "NAN", "<NA>", "NaT", "\\N"}
)
LEVEL_SEPARATOR: Final = " > "
_WHOLE_MAX: Final = 2**53  # beyond it a float is not exact
_INT64_MAX: Final = 2**63 - 1
# A leading zero is part of a code, not of a quantity.
_NUMBER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_DATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
_NUMBERS: Final = frozenset({AttributeKind.INTEGER, AttributeKind.DECIMAL})
_LISTS: Final = frozenset({AttributeKind.KEYWORD, AttributeKind.KEYWORDS})


@dataclass(frozen=True, slots=True)
class DateSpan:
    """The instants that a date means: from `start`, and before `end`. A date with a time means that instant alone,
    and `end` is None.
    """

    start: datetime
    end: datetime | None

    @classmethod
    def parse(cls, text: str) -> DateSpan | None:
        """`2024`, `2024-01`, `2024-01-15`, or with a time; without a zone it is UTC. None if it is not a date."""
        text = text.strip()
        try:
            if match := _DATE.fullmatch(text):
                year, month, day = (int(part) if part else None for part in match.groups())
                assert year is not None
                start = datetime(year, month or 1, day or 1, tzinfo=UTC)
                days = 1
                if day is None:
                    in_year = 366 if calendar.isleap(year) else 365
                    days = in_year if month is None else calendar.monthrange(year, month)[1]
                try:
                    return cls(start, start + timedelta(days=days))
                except OverflowError:  # 9999-12-31, which means for ever
                    return cls(start, datetime.max.replace(tzinfo=UTC))
            instant = datetime.fromisoformat(text)
            return cls(instant if instant.tzinfo else instant.replace(tzinfo=UTC), None)
        except ValueError:
            return None

    def __str__(self) -> str:
        whole = self.end is not None
        return self.start.date().isoformat() if whole else self.start.isoformat()


def kind_of(name: str, value: AttributeValue) -> AttributeKind:
    """The kind that a value alone shows. Dates, paths and free text cannot be told from keywords."""
    if name in UNFILTERED_ATTRIBUTES:
        return AttributeKind.TEXT
    if isinstance(value, bool):
        return AttributeKind.BOOLEAN
    if isinstance(value, list):
        return AttributeKind.KEYWORDS
    if isinstance(value, str):
        return AttributeKind.KEYWORD
    return AttributeKind.DECIMAL if isinstance(value, float) else AttributeKind.INTEGER


def kinds_of(
    attributes: Iterable[Mapping[str, AttributeValue]], known: Mapping[str, AttributeKind] | None = None
) -> dict[str, AttributeKind]:
    """The kind of each attribute that fits all the values, beginning with the `known` kinds.

    A value that can be stored as the known kind does not change it: the text `2024-01-15` leaves a date a date.
    """
    kinds = dict(known or {})
    for product in attributes:
        for name, value in product.items():
            kind = kinds.get(name)
            if kind is None or not _fits(value, kind):
                found = kind_of(name, value)
                kinds[name] = found if kind is None else wider(kind, found)
    return kinds


def wider(one: AttributeKind, other: AttributeKind) -> AttributeKind:
    """The kind that values of both kinds can be stored as."""
    if one == other:
        return one
    pair = frozenset({one, other})
    if AttributeKind.TEXT in pair:
        return AttributeKind.TEXT
    if pair == _NUMBERS:
        return AttributeKind.DECIMAL
    return AttributeKind.KEYWORDS if pair == _LISTS else AttributeKind.KEYWORD


def widened(kinds: Mapping[str, AttributeKind], others: Mapping[str, AttributeKind]) -> dict[str, AttributeKind]:
    """The attributes of both, each with a kind that fits the values of both."""
    return {name: wider(kinds.get(name, kind), others.get(name, kind)) for name, kind in {**kinds, **others}.items()}


def narrower(one: AttributeKind, other: AttributeKind) -> AttributeKind:
    """The kind whose values can be stored as both kinds."""
    return one if wider(one, other) == other else other


def filterable(kinds: Mapping[str, AttributeKind]) -> dict[str, AttributeKind]:
    """The kinds without free text, which is shown and not filtered by."""
    return {name: kind for name, kind in kinds.items() if kind is not AttributeKind.TEXT}


def kinds_from(stored: Mapping[str, str]) -> dict[str, AttributeKind]:
    """Kinds from their stored texts. One that this version does not know is left out."""
    return {name: AttributeKind(kind) for name, kind in stored.items() if kind in AttributeKind.__members__.values()}


def convert_attributes(
    attributes: Mapping[str, AttributeValue], kinds: Mapping[str, AttributeKind]
) -> tuple[dict[str, AttributeValue], tuple[str, ...]]:
    """The attributes with each value in the form of its kind, and the names of those that cannot be converted.

    The latter keep their value: they are shown, but no filter finds them.
    """
    found: dict[str, AttributeValue] = {}
    misfits = []
    for name, value in attributes.items():
        kind = kinds.get(name)
        converted = value if kind is None else converted_value(value, kind)
        if converted is None:
            misfits.append(name)
            converted = value
        found[name] = converted
    return found, tuple(misfits)


def paths_member(
    attributes: Mapping[str, AttributeValue], kinds: Mapping[str, AttributeKind]
) -> dict[str, dict[str, list[str]]]:
    """The hidden payload member with the levels of each category path; empty if there are no paths."""
    levels = {
        name: path_levels(value)
        for name, value in attributes.items()
        if kinds.get(name) is AttributeKind.PATH and isinstance(value, str | list)
    }
    return {PATHS_FIELD: levels} if levels else {}


def path_levels(value: str | list[str]) -> list[str]:
    """All levels of one or several paths: `A > B` gives `A` and `A > B`."""
    levels: dict[str, None] = {}
    for path in [value] if isinstance(value, str) else value:
        parts = [part.strip() for part in path.split(">")]
        parts = [part for part in parts if part]
        levels |= dict.fromkeys(LEVEL_SEPARATOR.join(parts[: depth + 1]) for depth in range(len(parts)))
    return list(levels)


def path_text(path: str) -> str:
    """A path as it is stored: single blanks around each `>`, no empty levels."""
    return LEVEL_SEPARATOR.join(part for part in (part.strip() for part in path.split(">")) if part)


def is_right_below(path: str, parent: str) -> bool:
    """Whether a stored path is one level below another; below an empty one are the top levels."""
    start = f"{parent}{LEVEL_SEPARATOR}" if parent else ""
    return path.startswith(start) and LEVEL_SEPARATOR not in path[len(start) :]


def converted_value(value: AttributeValue, kind: AttributeKind) -> AttributeValue | None:
    """The value in the form of a kind, or None if it has none."""
    match kind:
        case AttributeKind.KEYWORD:
            return None if isinstance(value, list) else text_of(value)
        case AttributeKind.KEYWORDS:
            return value if isinstance(value, list) else [text_of(value)]
        case AttributeKind.TEXT:
            return ", ".join(value) if isinstance(value, list) else text_of(value)
        case AttributeKind.PATH:
            return [path_text(one) for one in value] if isinstance(value, list) else path_text(text_of(value))
        case AttributeKind.BOOLEAN:
            return _boolean(value)
        case AttributeKind.DATE:
            return _date(value)
    number = _number(value)
    if number is None or kind is AttributeKind.DECIMAL:
        return number
    if isinstance(value, int):
        return value
    return int(number) if number.is_integer() and abs(number) <= _INT64_MAX else None


def text_of(value: Any) -> str:
    """A single value as catalogues write it: `37`, not `37.0`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= _WHOLE_MAX:
        return str(int(value))
    return str(value)


def _fits(value: AttributeValue, kind: AttributeKind) -> bool:
    """Whether the value can be stored as the kind, and still be found as what it is."""
    if kind is AttributeKind.KEYWORD:
        return isinstance(value, str)
    if kind is AttributeKind.DECIMAL and isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= _WHOLE_MAX
    return converted_value(value, kind) is not None


def _boolean(value: AttributeValue) -> bool | None:
    if isinstance(value, bool):
        return value
    word = "" if isinstance(value, list) else text_of(value).strip().lower()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


def _date(value: AttributeValue) -> str | None:
    """Text that Qdrant's index of dates reads: `2024-01-15`, or an instant with its zone."""
    span = DateSpan.parse(value) if isinstance(value, str) else None
    if span is None:
        return None
    return span.start.isoformat() if span.end is None else span.start.date().isoformat()


def _number(value: AttributeValue) -> float | None:
    if isinstance(value, bool | list):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
