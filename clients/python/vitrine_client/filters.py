"""Filters of searches and lists, as the API takes them: pairs of a name and a text.

{"gender": ["Women", "Girls"]}        either value
{"baseColour": Not("Red", "Pink")}    none of the values
{"price": Range(10, 20)}              bounds, both included; either may be left out
{"season": MISSING}                   products without a value; PRESENT: with one
{"year": [Range(min=2012), Not(2015)]}  all of several conditions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

FilterValue = str | int | float | bool | date
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Range:
    """Values from `min` to `max`, both included."""

    min: int | float | date | None = None
    max: int | float | date | None = None


class Not:
    """None of the values."""

    def __init__(self, *values: FilterValue) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"Not({', '.join(map(repr, self.values))})"


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether there is a value at all. Use the constants MISSING and PRESENT."""

    present: bool


MISSING: Final = Presence(present=False)
PRESENT: Final = Presence(present=True)

Condition = FilterValue | Range | Not | Presence
Filters = Mapping[str, Condition | Iterable[Condition]]


def filter_pairs(filters: Filters | None) -> Pairs:
    """The pairs of a query or a form. Raises ValueError for a filter without a value."""
    return [pair for name, condition in (filters or {}).items() for pair in _pairs(name, condition)]


def filter_members(filters: Filters | None) -> dict[str, list[str]]:
    """The same by name, for a JSON body."""
    members: dict[str, list[str]] = {}
    for name, value in filter_pairs(filters):
        members.setdefault(name, []).append(value)
    return members


def _pairs(name: str, condition: Condition | Iterable[Condition]) -> Iterator[tuple[str, str]]:
    match condition:
        case Range(min=None, max=None):
            raise ValueError(f"the range of {name!r} has no bound")
        case Range():
            if condition.min is not None:
                yield f"{name}Min", text_of(condition.min)
            if condition.max is not None:
                yield f"{name}Max", text_of(condition.max)
        case Presence():
            yield (f"!{name}" if condition.present else name), ""
        case Not():
            if not condition.values:
                raise ValueError(f"Not() of {name!r} has no value")
            yield from ((f"!{name}", text_of(value)) for value in condition.values)
        case str() | int() | float() | date():
            yield name, text_of(condition)
        case None:
            raise ValueError(f"{name!r} is None: MISSING finds products without a value")
        case _:
            conditions = list(condition)
            if not conditions:
                raise ValueError(f"the filter {name!r} has no value")
            for one in conditions:
                yield from _pairs(name, one)


def text_of(value: FilterValue) -> str:
    """A value as the API reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)
