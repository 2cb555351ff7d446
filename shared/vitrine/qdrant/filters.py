"""Filters (`gender=Women`, `yearMin=2012`): parsing, and compilation for Qdrant.

Filters are checked against the indexed fields of the collection. No text of the user is passed through unchecked.

    field=value           the attribute equals the value; repeated: any of the values
    field=                the attribute has no value
    fieldMin=n fieldMax=n numbers and dates: at least, at most; a date without a time includes its whole day
    !field=value          the attribute equals none of the values; `!field=`: it has a value

A word for an unknown value, such as `NA` or `None`, also matches products without a value: the readers of catalogues
take it as one, unless the column shows that it is a value.

A value of a list matches if the list contains it, and a category path matches at each of its levels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from qdrant_client import models

from vitrine.errors import FilterInvalid
from vitrine.kinds import FALSE_WORDS, TRUE_WORDS, UNKNOWN_WORDS, DateSpan, filterable, path_text
from vitrine.products import COMPOSITE_FIELD, HIDDEN_FIELDS, RANGE_SUFFIXES, AttributeKind, composite_value
from vitrine.qdrant.schema import field_key, json_path

MAX_CONDITIONS: Final = 32
MAX_VALUES_PER_FIELD: Final = 64
MAX_VALUE_CHARS: Final = 200
MAX_INTEGER: Final = 2**63 - 1  # of Qdrant's integers
_GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]+,[0-9]{1,2}")
_KEYWORDS: Final = (AttributeKind.KEYWORD, AttributeKind.KEYWORDS)
RANGED: Final = (AttributeKind.INTEGER, AttributeKind.DECIMAL, AttributeKind.DATE)
_NAMED: Final[Mapping[AttributeKind, str]] = {
    AttributeKind.KEYWORD: "a keyword",
    AttributeKind.KEYWORDS: "a list of keywords",
    AttributeKind.INTEGER: "an integer",
    AttributeKind.DECIMAL: "a number",
    AttributeKind.BOOLEAN: "a boolean",
    AttributeKind.DATE: "a date",
    AttributeKind.PATH: "a category path",
    AttributeKind.TEXT: "free text",
}

FilterValue = str | int | float | bool | DateSpan
Bound = float | DateSpan


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """The conditions on one attribute, all of which must hold: `any_of` values, `none_of` values, a range with both
    ends included, and with `present` any value. With `absent`, products without a value match too.
    """

    any_of: tuple[FilterValue, ...] = ()
    none_of: tuple[FilterValue, ...] = ()
    at_least: Bound | None = None
    at_most: Bound | None = None
    absent: bool = False
    present: bool = False
    kind: AttributeKind = field(default=AttributeKind.KEYWORD, compare=False)

    @property
    def has_range(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    def condition(self, name: str) -> models.Condition | None:
        """What must hold, or None if only `none_of` and `present` do."""
        key = json_path(field_key(name, self.kind))
        wanted: list[models.Condition] = [_equals(key, self.any_of)] if self.any_of else []
        if self.has_range:
            wanted.append(_between(key, self.at_least, self.at_most))
        if not self.absent:
            return models.Filter(must=wanted) if len(wanted) > 1 else wanted[0] if wanted else None
        empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        return models.Filter(should=[empty, models.Filter(must=wanted)]) if wanted else empty

    def exclusions(self, name: str) -> list[models.Condition]:
        """What must not hold."""
        key = json_path(field_key(name, self.kind))
        found: list[models.Condition] = [_equals(key, self.none_of)] if self.none_of else []
        if self.present:
            found.append(models.IsEmptyCondition(is_empty=models.PayloadField(key=key)))
        return found


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """A checked filter: conditions by attribute, all of which must hold."""

    fields: Mapping[str, FieldFilter] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fields)

    @property
    def key(self) -> str:
        """A cache key: equal filters have the same key, in whatever order they were written."""
        return repr(sorted((name, repr(conditions)) for name, conditions in self.fields.items()))

    def conditions(self) -> int:
        """How many separate conditions must hold at once."""
        return len(self.fields)

    def compile(self) -> models.Filter | None:
        """Qdrant's filter, or None if there are no conditions.

        One gender together with one article type also uses the composite field: an indexed value has links of its own
        in the search graph.
        """
        if not self.fields:
            return None
        must: list[models.Condition] = []
        must_not: list[models.Condition] = []
        for name, conditions in self.fields.items():
            wanted = conditions.condition(name)
            if wanted is not None:
                must.append(wanted)
            must_not += conditions.exclusions(name)
        composite = self._composite()
        if composite is not None:
            must.insert(0, models.FieldCondition(key=COMPOSITE_FIELD, match=models.MatchValue(value=composite)))
        return models.Filter(must=must or None, must_not=must_not or None)

    @property
    def uses_composite(self) -> bool:
        """Whether it is one gender together with one article type, beside any other conditions."""
        return self._composite() is not None

    def _composite(self) -> str | None:
        pair = [self.fields.get("gender"), self.fields.get("articleType")]
        values = [
            one.any_of[0]
            for one in pair
            if one is not None and len(one.any_of) == 1 and not one.absent and one.kind in _KEYWORDS
        ]
        return composite_value(str(values[0]), str(values[1])) if len(values) == len(pair) else None


def parse_filters(pairs: Iterable[tuple[str, str]], kinds: Mapping[str, AttributeKind]) -> FilterSpec:
    """Parse `name=value` pairs, for the attributes of a collection.

    Raises FilterInvalid, naming the attribute, what it takes, and the known ones.
    """
    found: dict[str, FieldFilter] = {}
    offered = {name: kind for name, kind in kinds.items() if name not in HIDDEN_FIELDS}
    for count, (name, value) in enumerate(pairs, start=1):
        if count > MAX_CONDITIONS * 4:
            raise FilterInvalid(f"too many filter values: at most {MAX_CONDITIONS * 4} in all")
        if len(value) > MAX_VALUE_CHARS:
            raise FilterInvalid(f"the value of {name[:80]!r} is longer than {MAX_VALUE_CHARS} characters")
        _add(found, name, value, offered)
    if len(found) > MAX_CONDITIONS:
        raise FilterInvalid(f"too many filters: at most {MAX_CONDITIONS} fields")
    return FilterSpec(found)


def _add(found: dict[str, FieldFilter], name: str, value: str, kinds: Mapping[str, AttributeKind]) -> None:
    negated = name.startswith("!")
    plain = name.removeprefix("!")
    if plain in kinds:
        current = found.get(plain, FieldFilter(kind=kinds[plain]))
        found[plain] = _with_value(current, plain, value, negated=negated)
        return
    known = ""
    for suffix in RANGE_SUFFIXES:
        base = plain.removesuffix(suffix)
        if base == plain or base not in kinds:
            continue
        if not negated and kinds[base] in RANGED:
            bound = _bound(plain, value, kinds[base])
            current = found.get(base, FieldFilter(kind=kinds[base]))
            found[base] = replace(current, at_least=bound) if suffix == "Min" else replace(current, at_most=bound)
            return
        known = f": {base!r} is {_NAMED[kinds[base]]}, which has no range" if kinds[base] not in RANGED else ""
    names = filterable(kinds)
    ranged = sorted(one for one, kind in names.items() if kind in RANGED)
    ranges = f"; with Min or Max appended: {', '.join(ranged)}" if ranged else ""
    raise FilterInvalid(f"unknown filter {name[:80]!r}{known}; the fields are: {', '.join(sorted(names))}{ranges}")


def _with_value(current: FieldFilter, name: str, value: str, *, negated: bool) -> FieldFilter:
    if current.kind is AttributeKind.TEXT:
        raise FilterInvalid(f"{name!r} is free text: it is shown, but cannot be filtered by")
    if not value.strip():
        return replace(current, present=True) if negated else replace(current, absent=True)
    if value.strip() in UNKNOWN_WORDS:
        current = replace(current, present=True) if negated else replace(current, absent=True)
        if current.kind not in (*_KEYWORDS, AttributeKind.PATH):
            return current
    values = (*(current.none_of if negated else current.any_of), _value(name, value, current.kind))
    if len(values) > MAX_VALUES_PER_FIELD:
        raise FilterInvalid(f"too many values for {name!r}: at most {MAX_VALUES_PER_FIELD}")
    return replace(current, none_of=values) if negated else replace(current, any_of=values)


def _value(name: str, value: str, kind: AttributeKind) -> FilterValue:
    match kind:
        case AttributeKind.INTEGER:
            return _integer(name, value)
        case AttributeKind.DECIMAL:
            return _number(name, value)
        case AttributeKind.DATE:
            return _date(name, value)
        case AttributeKind.BOOLEAN:
            word = value.strip().lower()
            if word not in TRUE_WORDS | FALSE_WORDS:
                raise FilterInvalid(f"{name!r} is a boolean and takes true or false; {value[:40]!r} is neither")
            return word in TRUE_WORDS
        case AttributeKind.PATH:
            return path_text(value)
    return value


def _bound(name: str, value: str, kind: AttributeKind) -> Bound:
    return _date(name, value) if kind is AttributeKind.DATE else _number(name, value)


def _integer(name: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise FilterInvalid(
            f"{name!r} is an integer and takes a whole number, such as 36; {value[:40]!r} is not"
        ) from None
    if abs(number) > MAX_INTEGER:
        raise FilterInvalid(f"{name!r} is out of range: {value[:40]!r}")
    return number


def _number(name: str, value: str) -> float:
    """A number, also with groups of thousands (1,299.00) or a decimal comma (19,90)."""
    plain = value.strip()
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    elif _DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    try:
        number = float(plain)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FilterInvalid(f"{name!r} is a number and takes one such as 19.95; {value[:40]!r} is not")
    return number


def _date(name: str, value: str) -> DateSpan:
    span = DateSpan.parse(value)
    if span is None:
        raise FilterInvalid(
            f"{name!r} is a date and takes one such as 2024-01-15, 2024-01 or 2024-01-15T10:30:00Z; "
            f"{value[:40]!r} is not"
        )
    return span


def _equals(key: str, values: tuple[FilterValue, ...]) -> models.Condition:
    """The condition that an attribute equals one of the values. Qdrant matches decimals and dates only by range, and
    booleans one by one.
    """
    match = _match(values)
    if match is not None:
        return models.FieldCondition(key=key, match=match)
    each: list[models.Condition] = [
        models.FieldCondition(key=key, match=models.MatchValue(value=value))
        if isinstance(value, bool)
        else _between(key, value, value)
        for value in values
        if not isinstance(value, str)
    ]
    return each[0] if len(each) == 1 else models.Filter(should=each)


def _match(values: tuple[FilterValue, ...]) -> models.MatchValue | models.MatchAny | None:
    """The match of keywords or integers; None for values of other kinds."""
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(values) not in (len(texts), len(numbers)):
        return None
    if len(values) == 1:
        return models.MatchValue(value=[*texts, *numbers][0])
    return models.MatchAny(any=texts or numbers)


def _between(key: str, least: Bound | None, greatest: Bound | None) -> models.FieldCondition:
    if isinstance(least, DateSpan) or isinstance(greatest, DateSpan):
        span = models.DatetimeRange(
            gte=least.start if isinstance(least, DateSpan) else None,
            lt=greatest.end if isinstance(greatest, DateSpan) else None,
            lte=greatest.start if isinstance(greatest, DateSpan) and greatest.end is None else None,
        )
        return models.FieldCondition(key=key, range=span)
    return models.FieldCondition(key=key, range=models.Range(gte=least, lte=greatest))
