"""View models of the search page, made from a state and an answer: chips, facets and tiles with their links."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from search_api.pages.search_state import SearchState
from search_api.search.options import MAX_FACETS
from vitrine.products import PAYLOAD_NAMES, STANDARD_ATTRIBUTES
from vitrine.qdrant.schema import FieldType

_LABELS: Final = {
    "articleType": "Kind",
    "baseColour": "Colour",
    "masterCategory": "Department",
    "subCategory": "Category",
}
# These come first, in this order.
_FIRST: Final = ("gender", "articleType", "baseColour", "year")
_SHOWN_VALUES: Final = 8
_SHOWN_KINDS: Final = 3
_LEAST_PROBABILITY: Final = 0.05
_MAIN_ATTRIBUTES: Final = ("gender", "articleType", "baseColour")
# The predicted field of a release whose manifest does not name one.
_KIND_FIELD: Final = "articleType"
_WORD: Final = re.compile(r"[A-Z]?[^A-Z_]+|[A-Z]+")
FacetKind = Literal["values", "colours", "range"]


@dataclass(frozen=True, slots=True)
class Link:
    """A chip with its link. `aside` is a number beside the text."""

    text: str
    href: str
    chosen: bool = False
    aside: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a facet."""

    value: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    """A field to filter by. A range has the bounds `least` and `greatest`, and the chosen part."""

    name: str
    label: str
    kind: FacetKind
    choices: tuple[Choice, ...] = ()
    least: float = 0
    greatest: float = 0
    low: float = 0
    high: float = 0
    step: str = "1"

    @property
    def shown(self) -> tuple[Choice, ...]:
        """The visible values: the chosen and the most frequent ones."""
        return tuple(one for place, one in enumerate(self.choices) if place < _SHOWN_VALUES or one.chosen)

    @property
    def more(self) -> tuple[Choice, ...]:
        return tuple(one for place, one in enumerate(self.choices) if place >= _SHOWN_VALUES and not one.chosen)

    @property
    def filtered(self) -> bool:
        return any(one.chosen for one in self.choices) or (self.low, self.high) != (self.least, self.greatest)


@dataclass(frozen=True, slots=True)
class Tile:
    """A result. `rank` starts at 1; `other_rank` is the rank with the other model in a comparison."""

    id: str
    name: str
    image: str
    href: str
    search_href: str
    attributes: str
    score: float
    confidence: float | None
    rank: int
    other_rank: int | None = None


def label_of(field: str) -> str:
    """A field's label: `baseColour` as Colour, `sleeve_length` as Sleeve length."""
    if field in _LABELS:
        return _LABELS[field]
    words = " ".join(_WORD.findall(field)).lower() or field
    return words[:1].upper() + words[1:]


def facet_fields(schema: Mapping[str, FieldType]) -> list[str]:
    """The fields that the page counts, the standard ones first."""
    order = list(dict.fromkeys((*_FIRST, *STANDARD_ATTRIBUTES)))
    known = [name for name in order if name in schema]
    others = sorted(name for name in schema if name not in known and name not in PAYLOAD_NAMES)
    return [*known, *others][:MAX_FACETS]


def chips(state: SearchState, home: str) -> list[Link]:
    """A chip for each condition, which removes it."""
    found = []
    for name, value in state.filters:
        found.append(Link(_condition(name, value), home + state.lacking((name, value)).query()))
    return found


def facets(state: SearchState, answer: Mapping[str, Any], schema: Mapping[str, FieldType]) -> list[Facet]:
    """The facets of an answer, in the page's order. Facets without a choice are left out."""
    counts, ranges = answer.get("facets", {}), answer.get("ranges", {})
    found: list[Facet] = []
    for name in facet_fields(schema):
        if schema[name] == "keyword":
            facet = _values(state, name, counts.get(name, []))
        else:
            facet = _range(state, name, ranges.get(name), whole=schema[name] == "integer")
        found += [facet] if facet is not None else []
    return found


def kinds(state: SearchState, answer: Mapping[str, Any], schema: Mapping[str, FieldType], home: str) -> list[Link]:
    """Chips for the predicted kinds, which restrict the search to a kind or lift that."""
    predicted = answer.get("predicted") or []
    field = (predicted[0]["field"] or _KIND_FIELD) if predicted else _KIND_FIELD
    if field not in schema:
        return []
    found: list[Link] = []
    for one in predicted[:_SHOWN_KINDS]:
        label, probability = str(one["label"]), float(one["probability"])
        if probability < _LEAST_PROBABILITY and found:
            break
        chosen = state.values_of(field) == (label,)
        changed = state.filtering(field) if chosen else state.filtering(field, label)
        found.append(Link(label, home + changed.query(), chosen, probability))
    return found


def relaxations(state: SearchState, answer: Mapping[str, Any], home: str) -> list[Link]:
    """Links without one of the filters, the one that excludes most products first."""
    return [
        Link(
            f"{label_of(one['filter'])} = {', '.join(map(str, one['values']))}",
            home + state.filtering(one["filter"]).query(),
            aside=one["products"],
        )
        for one in answer.get("relax", [])
    ]


def tiles(
    state: SearchState,
    answer: Mapping[str, Any],
    home: str,
    *,
    after: int = 0,
    other: Sequence[Any] = (),
) -> list[Tile]:
    """The products of an answer. `other` is the ranking of the other model of a comparison."""
    ranks = {str(product_id): place for place, product_id in enumerate(other, start=1)}
    return [
        _tile(state, result, home, rank=rank, other_rank=ranks.get(str(result["id"])))
        for rank, result in enumerate(answer["results"], start=after + 1)
    ]


def main_attributes(product: Mapping[str, Any]) -> str:
    """The most useful attributes, in one line."""
    return " · ".join(str(product[name]) for name in _MAIN_ATTRIBUTES if product.get(name) not in (None, ""))


def _tile(state: SearchState, result: Mapping[str, Any], home: str, *, rank: int, other_rank: int | None) -> Tile:
    product_id = str(result["id"])
    return Tile(
        id=product_id,
        name=str(result.get("name") or product_id),
        image=result["image"],
        href=f"{home}products/{quote(product_id, safe='')}{SearchState(dataset=str(result['dataset'])).query()}",
        search_href=home + state.searching_with(product_id).query(),
        attributes=main_attributes(result),
        score=float(result["score"]),
        confidence=result.get("confidence"),
        rank=rank,
        other_rank=other_rank,
    )


def _condition(name: str, value: str) -> str:
    if name.startswith("!"):
        return f"not {value}"
    for suffix, words in (("Min", "from"), ("Max", "to")):
        if name.endswith(suffix) and name != suffix:
            return f"{label_of(name.removesuffix(suffix))} {words} {value}"
    return value


def _values(state: SearchState, name: str, counted: Sequence[Mapping[str, Any]]) -> Facet | None:
    chosen = state.values_of(name)
    choices = [Choice(str(one["value"]), int(one["count"]), str(one["value"]) in chosen) for one in counted]
    told = {choice.value for choice in choices}
    choices += [Choice(value, 0, chosen=True) for value in chosen if value not in told]
    if not choices or (len(choices) == 1 and not chosen):
        return None
    kind: FacetKind = "colours" if re.search(r"colou?r", name, re.IGNORECASE) else "values"
    return Facet(name, label_of(name), kind, tuple(choices))


def _range(state: SearchState, name: str, bounds: Mapping[str, float] | None, *, whole: bool) -> Facet | None:
    low, high = (_number(state.values_of(f"{name}{end}")) for end in ("Min", "Max"))
    ends = [one for one in (low, high, *((bounds["min"], bounds["max"]) if bounds else ())) if one is not None]
    if not ends or min(ends) == max(ends):
        return None
    least, greatest = min(ends), max(ends)
    return Facet(
        name,
        label_of(name),
        "range",
        least=least,
        greatest=greatest,
        low=least if low is None else low,
        high=greatest if high is None else high,
        step="1" if whole else "any",
    )


def _number(values: Sequence[str]) -> float | None:
    try:
        number = float(values[0]) if values else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else number
