"""Filters (`gender=Women`, `yearMin=2012`): parsing, compilation for Qdrant, and the plan of a filtered search.

Filters are checked against the indexed fields of the collection. No text of the user is passed through unchecked.

    field=value           the field equals the value; repeated: any of the values
    fieldMin=n fieldMax=n numeric fields: at least, at most
    !field=value          the field equals none of the values

Qdrant searches a graph of neighbours. A filter without links of its own in the graph splits it, and recall falls: to
0.14 for the conjunction of a common and a mid-sized value, on 200,000 vectors; to 0.87 even if half of the products
match, when they are close together. The remedies are an exact scan, which is cheap for few matches, and ACORN with a
wide beam, which also visits neighbours of neighbours that do not match.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from qdrant_client import models

from vitrine.errors import FilterInvalid
from vitrine.products import COMPOSITE_FIELD, HIDDEN_FIELDS, composite_value
from vitrine.qdrant.schema import FieldType

MAX_CONDITIONS: Final = 32
MAX_VALUES_PER_FIELD: Final = 64
MAX_VALUE_CHARS: Final = 200
MAX_INTEGER: Final = 2**63 - 1  # of Qdrant's integers

# Scoring this many 128-d vectors takes about five milliseconds on one core; below it ACORN saves little.
DEFAULT_EXACT_MAX_MATCHES: Final = 50_000
DEFAULT_EF: Final = 128
DEFAULT_ACORN_EF: Final = 256
# The graph of products with several pictures is built by another measure than it is searched by: a wider beam finds
# as much.
SEVERAL_PICTURES_EF_FACTOR: Final = 4
# Without a filter the graph finds nearly everything, so it is used from the size at which Qdrant builds one.
_UNFILTERED_EXACT_MAX_POINTS: Final = 20_000

FilterValue = str | int | float


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """The conditions on one field: `any_of` or `none_of` values, or a numeric range with both ends included."""

    any_of: tuple[FilterValue, ...] = ()
    none_of: tuple[FilterValue, ...] = ()
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """A checked filter: conditions by field name, all of which must hold."""

    fields: Mapping[str, FieldFilter] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fields)

    @property
    def key(self) -> str:
        """A cache key: equal filters have the same key, in whatever order they were written."""
        return repr(sorted((name, conditions) for name, conditions in self.fields.items()))

    def conditions(self) -> int:
        """How many separate conditions must hold at once."""
        return len(self.fields)

    def compile(self) -> models.Filter | None:
        """Qdrant's filter, or None if there are no conditions.

        One gender together with one article type also uses the composite field: an indexed value has links of its own
        in the graph, a conjunction has none.
        """
        if not self.fields:
            return None
        must: list[models.Condition] = []
        must_not: list[models.Condition] = []
        for name, conditions in self.fields.items():
            if conditions.any_of:
                must.append(_equals(name, conditions.any_of))
            if conditions.none_of:
                must_not.append(_equals(name, conditions.none_of))
            if conditions.at_least is not None or conditions.at_most is not None:
                span = models.Range(gte=conditions.at_least, lte=conditions.at_most)
                must.append(models.FieldCondition(key=name, range=span))
        composite = self._composite()
        if composite is not None:
            must.insert(0, models.FieldCondition(key=COMPOSITE_FIELD, match=models.MatchValue(value=composite)))
        return models.Filter(must=must or None, must_not=must_not or None)

    def _composite(self) -> str | None:
        gender, article_type = self.fields.get("gender"), self.fields.get("articleType")
        if gender is None or article_type is None:
            return None
        if len(gender.any_of) != 1 or len(article_type.any_of) != 1:
            return None
        return composite_value(gender.any_of[0], article_type.any_of[0])


def parse_filters(pairs: Iterable[tuple[str, str]], schema: Mapping[str, FieldType]) -> FilterSpec:
    """Parse `name=value` pairs, for the indexed fields of a collection.

    Raises FilterInvalid, naming the field, the reason, and the known fields.
    """
    found: dict[str, FieldFilter] = {}
    offered = {name: kind for name, kind in schema.items() if name not in HIDDEN_FIELDS}
    for count, (name, value) in enumerate(pairs, start=1):
        if count > MAX_CONDITIONS * 4:
            raise FilterInvalid(f"too many filter values: at most {MAX_CONDITIONS * 4} in all")
        if len(value) > MAX_VALUE_CHARS:
            raise FilterInvalid(f"the value of {name[:80]!r} is longer than {MAX_VALUE_CHARS} characters")
        _add(found, name, value, offered)
    if len(found) > MAX_CONDITIONS:
        raise FilterInvalid(f"too many filters: at most {MAX_CONDITIONS} fields")
    return FilterSpec(found)


def _add(found: dict[str, FieldFilter], name: str, value: str, schema: Mapping[str, FieldType]) -> None:
    negated = name.startswith("!")
    plain = name.removeprefix("!")
    if plain in schema:
        current = found.get(plain, FieldFilter())
        typed = _typed(plain, value, schema[plain])
        values = (*(current.none_of if negated else current.any_of), typed)
        if len(values) > MAX_VALUES_PER_FIELD:
            raise FilterInvalid(f"too many values for {plain!r}: at most {MAX_VALUES_PER_FIELD}")
        found[plain] = _with(current, none_of=values) if negated else _with(current, any_of=values)
        return
    for suffix in ("Min", "Max"):
        base = plain.removesuffix(suffix)
        if base != plain and not negated and schema.get(base) in ("integer", "float"):
            number = _number(plain, value)
            current = found.get(base, FieldFilter())
            found[base] = _with(current, at_least=number) if suffix == "Min" else _with(current, at_most=number)
            return
    numeric = sorted(known for known, kind in schema.items() if kind != "keyword")
    ranges = f"; with Min or Max appended: {', '.join(numeric)}" if numeric else ""
    raise FilterInvalid(f"unknown filter {name[:80]!r}; the fields are: {', '.join(sorted(schema))}{ranges}")


def _with(
    current: FieldFilter,
    *,
    any_of: tuple[FilterValue, ...] | None = None,
    none_of: tuple[FilterValue, ...] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> FieldFilter:
    return FieldFilter(
        any_of=current.any_of if any_of is None else any_of,
        none_of=current.none_of if none_of is None else none_of,
        at_least=current.at_least if at_least is None else at_least,
        at_most=current.at_most if at_most is None else at_most,
    )


def _typed(name: str, value: str, kind: FieldType) -> FilterValue:
    if kind == "keyword":
        if not value:
            raise FilterInvalid(f"the filter {name!r} is empty: give it a value or leave it out")
        return value
    if kind == "integer":
        try:
            number = int(value)
        except ValueError:
            raise FilterInvalid(f"{name!r} is a whole number; {value[:40]!r} is not") from None
        if abs(number) > MAX_INTEGER:
            raise FilterInvalid(f"{name!r} is out of range: {value[:40]!r}")
        return number
    return _number(name, value)


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FilterInvalid(f"{name!r} is a number; {value[:40]!r} is not")
    return number


def _equals(name: str, values: tuple[FilterValue, ...]) -> models.Condition:
    """The condition that a field equals one of the values. Qdrant matches decimal numbers only by range."""
    numbers = [value for value in values if isinstance(value, float)]
    if not numbers:
        return models.FieldCondition(key=name, match=_match(values))
    spans: list[models.Condition] = [
        models.FieldCondition(key=name, range=models.Range(gte=number, lte=number)) for number in numbers
    ]
    return spans[0] if len(spans) == 1 else models.Filter(should=spans)


def _match(values: tuple[FilterValue, ...]) -> models.MatchValue | models.MatchAny:
    if len(values) == 1:
        return models.MatchValue(value=values[0])
    strings = [value for value in values if isinstance(value, str)]
    return models.MatchAny(any=strings or [value for value in values if isinstance(value, int)])


class Plan(StrEnum):
    """How a search runs in Qdrant."""

    EXACT = "exact"
    ACORN = "acorn"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class Planner:
    """Chooses a plan by the expected number of matches."""

    exact_max_matches: int = DEFAULT_EXACT_MAX_MATCHES
    hnsw_ef: int = DEFAULT_EF
    acorn_ef: int = DEFAULT_ACORN_EF

    def choose(self, spec: FilterSpec, *, expected_matches: int, points: int) -> Plan:
        """The plan for `spec` in a collection of `points` points, about `expected_matches` of which match."""
        if not spec:
            return Plan.EXACT if points <= _UNFILTERED_EXACT_MAX_POINTS else Plan.GRAPH
        return Plan.EXACT if expected_matches <= self.exact_max_matches else Plan.ACORN

    def params(self, plan: Plan, *, top_k: int, several_pictures: bool = False) -> models.SearchParams:
        """Qdrant's search parameters for a plan. The beam is at least twice as wide as the answer.

        `several_pictures` is of the collection.
        """
        if plan is Plan.EXACT:
            return models.SearchParams(exact=True)
        if plan is Plan.ACORN:
            # 1 makes Qdrant always use ACORN: `choose` has decided already.
            acorn = models.AcornSearchParams(enable=True, max_selectivity=1.0)
            return models.SearchParams(hnsw_ef=max(self.acorn_ef, 2 * top_k), acorn=acorn)
        wider = SEVERAL_PICTURES_EF_FACTOR if several_pictures else 1
        return models.SearchParams(hnsw_ef=max(self.hnsw_ef * wider, 2 * top_k))
