"""View models of the search page, made from a state and an answer: chips, facets and tiles with their links."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from urllib.parse import quote

from search_api.pages.search_garments import Garment, Garments
from search_api.pages.search_state import Pair, SearchState
from search_api.pages.shown_values import in_words, shown_value, with_currency
from search_api.search.options import MAX_FACETS
from vitrine.kinds import LEVEL_SEPARATOR, filterable, text_of
from vitrine.products import PAYLOAD_NAMES, STANDARD_ATTRIBUTES, AttributeKind
from vitrine.qdrant.filters import RANGED

_LABELS: Final = {
    "articleType": "Kind",
    "baseColour": "Colour",
    "masterCategory": "Department",
    "subCategory": "Category",
}
# These come first, in this order.
_FIRST: Final = ("gender", "articleType", "baseColour", "year")
# Then these, if the catalogue has them.
_COMMON: Final = ("category", "brand", "colour", "color", "colours", "colors", "size", "price")
_SHOWN_VALUES: Final = 8
_SHOWN_LEVELS: Final = 14
_DEEPEST: Final = 4  # deeper levels are indented no further
_DAY_CHARS: Final = len("2024-01-15")
_SHOWN_KINDS: Final = 3
_LEAST_PROBABILITY: Final = 0.05
_MAIN_ATTRIBUTES: Final = ("gender", "articleType", "baseColour")
# The predicted field of a release whose manifest does not name one.
_KIND_FIELD: Final = "articleType"
_WORD: Final = re.compile(r"[A-Z]?[^A-Z_]+|[A-Z]+")
FacetKind = Literal["values", "colours", "range", "dates", "tree"]
# The value of a filter for products without a value. Forms drop empty values, so it is a blank.
NO_VALUE: Final = " "


@dataclass(frozen=True, slots=True)
class Link:
    """A chip with its link. `aside` is a number beside the text."""

    text: str
    href: str
    chosen: bool = False
    aside: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a facet. `level` counts from 0 down a tree of categories."""

    value: str
    count: int
    chosen: bool
    text: str = ""
    level: int = 0

    @property
    def words(self) -> str:
        return self.text or self.value


@dataclass(frozen=True, slots=True)
class Facet:
    """A field to filter by. A range has the bounds `least` and `greatest`, and the chosen part; of dates these are
    texts. `without` is the choice of the products without a value, if there are any.
    """

    name: str
    label: str
    kind: FacetKind
    choices: tuple[Choice, ...] = ()
    least: float | str = 0
    greatest: float | str = 0
    low: float | str = 0
    high: float | str = 0
    step: str = "1"
    without: Choice | None = None

    @property
    def shown(self) -> tuple[Choice, ...]:
        """The visible values: the chosen and the most frequent ones."""
        return tuple(one for place, one in enumerate(self.choices) if place < self._most or one.chosen)

    @property
    def more(self) -> tuple[Choice, ...]:
        return tuple(one for place, one in enumerate(self.choices) if place >= self._most and not one.chosen)

    @property
    def _most(self) -> int:
        return _SHOWN_LEVELS if self.kind == "tree" else _SHOWN_VALUES

    @property
    def filtered(self) -> bool:
        if any(one.chosen for one in self.choices) or (self.without is not None and self.without.chosen):
            return True
        return (self.low, self.high) != (("", "") if self.kind == "dates" else (self.least, self.greatest))


@dataclass(frozen=True, slots=True)
class Tile:
    """A result. `rank` starts at 1; `other_rank` is the rank with the other model in a comparison.

    `image` is the picture that matched, the `picture`-th of `pictures`.
    """

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
    picture: int = 1
    pictures: int = 1
    variants: int = 0


@dataclass(frozen=True, slots=True)
class LookRow:
    """A garment of "shop the look" with its best few products. `nothing`: none of them is like it."""

    garment: Garment
    tiles: tuple[Tile, ...]
    nothing: bool


def label_of(field: str) -> str:
    """A field's label: `baseColour` as Colour, `sleeve_length` as Sleeve length."""
    if field in _LABELS:
        return _LABELS[field]
    words = " ".join(_WORD.findall(field)).lower() or field
    return words[:1].upper() + words[1:]


def facet_fields(kinds: Mapping[str, AttributeKind]) -> list[str]:
    """The fields that the page counts, the standard ones first. A currency is shown with its price instead."""
    offered = filterable(kinds)
    order = list(dict.fromkeys((*_FIRST, *STANDARD_ATTRIBUTES, *_COMMON)))
    known = [name for name in order if name in offered]
    hidden = {*known, *PAYLOAD_NAMES, *(f"{name}Currency" for name in offered)}
    others = sorted(name for name in offered if name not in hidden)
    return [*known, *others][:MAX_FACETS]


def chips(state: SearchState, home: str, kind: Sequence[Pair] = ()) -> list[Link]:
    """A chip for each condition, which removes it, and one for the filters that follow from a garment's `kind`."""
    found = []
    if kind:
        text = f"Kind: {', '.join(value for _, value in kind)}"
        found.append(Link(text, home + state.having(kind_filters=False).query()))
    for name, value in state.filters:
        found.append(Link(_condition(name, value), home + state.lacking((name, value)).query()))
    return found


def facets(state: SearchState, answer: Mapping[str, Any], kinds: Mapping[str, AttributeKind]) -> list[Facet]:
    """The facets of an answer, in the page's order. Facets without a choice are left out."""
    counts, ranges = answer.get("facets", {}), answer.get("ranges", {})
    found: list[Facet] = []
    for name in facet_fields(kinds):
        without = _without(state, name, answer.get("withoutValue", {}).get(name, 0))
        kind = kinds[name]
        if kind is AttributeKind.DATE:
            facet = _dates(state, name, ranges.get(name))
        elif kind in RANGED:
            facet = _range(state, name, ranges.get(name), whole=kind is AttributeKind.INTEGER)
        elif kind is AttributeKind.PATH:
            facet = _tree(state, name, counts.get(name, []))
        else:
            facet = _values(state, name, counts.get(name, []), alone=without is None)
        found += [replace(facet, without=without)] if facet is not None else []
    return found


def kinds(state: SearchState, answer: Mapping[str, Any], schema: Mapping[str, AttributeKind], home: str) -> list[Link]:
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
            home + _without_filter(state, one["filter"]).query(),
            aside=one["products"],
        )
        for one in answer.get("relax", [])
    ]


def _without_filter(state: SearchState, field: str) -> SearchState:
    """The state without its filter on the field, or without the one that follows from the garment's kind."""
    free = state.filtering(field)
    return free if free.filters != state.filters else state.having(kind_filters=False)


def look_rows(state: SearchState, answer: Mapping[str, Any], garments: Garments, home: str) -> list[LookRow]:
    """The products of each garment, in the order of the garments."""
    by_number = {one["number"]: one for one in answer["garments"]}
    return [
        LookRow(garment, tuple(tiles(state, found, home)), found["nothingLikeThis"])
        for garment in garments.all
        if (found := by_number.get(garment.number)) is not None
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
    found = [shown_value(product[name]) for name in _MAIN_ATTRIBUTES if product.get(name) not in (None, "", [])]
    price = with_currency("price", product) if isinstance(product.get("price"), int | float) else ""
    return " · ".join([*found, *([price] if price else [])])


def _tile(state: SearchState, result: Mapping[str, Any], home: str, *, rank: int, other_rank: int | None) -> Tile:
    product_id = str(result["id"])
    matched = result.get("matchedPicture") or {"index": 0, "image": result["image"]}
    return Tile(
        id=product_id,
        name=str(result.get("name") or product_id),
        image=matched["image"],
        href=f"{home}products/{quote(product_id, safe='')}{SearchState(dataset=str(result['dataset'])).query()}",
        search_href=home + state.searching_with(product_id).query(),
        attributes=main_attributes(result),
        score=float(result["score"]),
        confidence=result.get("confidence"),
        rank=rank,
        other_rank=other_rank,
        picture=matched["index"] + 1,
        pictures=len(result.get("pictures") or (matched,)),
        variants=result.get("variants", 0),
    )


def _condition(name: str, value: str) -> str:
    plain = label_of(name.removeprefix("!"))
    if not value.strip():
        return f"{plain}: {'any' if name.startswith('!') else 'without'}"
    if value in ("true", "false"):
        value = f"{plain}: {in_words(value)}"
    if name.startswith("!"):
        return f"not {value}"
    for suffix, words in (("Min", "from"), ("Max", "to")):
        if name.endswith(suffix) and name != suffix:
            return f"{label_of(name.removesuffix(suffix))} {words} {value}"
    return value


def _without(state: SearchState, name: str, count: int) -> Choice | None:
    chosen = NO_VALUE in state.values_of(name)
    return Choice(NO_VALUE, count, chosen, "Without a value") if count or chosen else None


def _choices(state: SearchState, name: str, counted: Sequence[Mapping[str, Any]]) -> list[Choice]:
    """The counted values, and the chosen ones that no product has."""
    chosen = state.values_of(name)
    counts = {text_of(one["value"]): int(one["count"]) for one in counted if "value" in one}
    counts |= {value: 0 for value in chosen if value not in counts and value != NO_VALUE}
    return [Choice(value, count, value in chosen, in_words(value)) for value, count in counts.items()]


def _values(state: SearchState, name: str, counted: Sequence[Mapping[str, Any]], *, alone: bool) -> Facet | None:
    choices = _choices(state, name, counted)
    if not choices or (len(choices) == 1 and alone and not state.values_of(name)):
        return None
    kind: FacetKind = "colours" if re.search(r"colou?r", name, re.IGNORECASE) else "values"
    return Facet(name, label_of(name), kind, tuple(choices))


def _range(state: SearchState, name: str, bounds: Mapping[str, float] | None, *, whole: bool) -> Facet | None:
    low, high = (_number(state.values_of(f"{name}{end}")) for end in ("Min", "Max"))
    ends = [one for one in (low, high, *((bounds["min"], bounds["max"]) if bounds else ())) if one is not None]
    if not ends or min(ends) == max(ends):
        return None
    least, greatest = (int(end) if float(end).is_integer() else end for end in (min(ends), max(ends)))
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


def _dates(state: SearchState, name: str, bounds: Mapping[str, Any] | None) -> Facet | None:
    low, high = (next(iter(state.values_of(f"{name}{end}")), "") for end in ("Min", "Max"))
    least, greatest = (str(bounds[end])[:_DAY_CHARS] if bounds else "" for end in ("min", "max"))
    if not (low or high) and least == greatest:
        return None
    return Facet(name, label_of(name), "dates", least=least, greatest=greatest, low=low, high=high)


def _tree(state: SearchState, name: str, counted: Sequence[Mapping[str, Any]]) -> Facet | None:
    """The levels of category paths as an indented tree, the levels below one another by their counts."""
    choices = {tuple(choice.value.split(LEVEL_SEPARATOR)): choice for choice in _choices(state, name, counted)}
    if not choices:
        return None
    for path in list(choices):  # a chosen path that no product has is shown below its levels too
        for depth in range(1, len(path)):
            above = path[:depth]
            choices.setdefault(above, Choice(LEVEL_SEPARATOR.join(above), 0, chosen=False))

    def place(path: tuple[str, ...]) -> list[tuple[int, str]]:
        above = (path[: depth + 1] for depth in range(len(path)))
        return [(-choices[level].count, level[-1]) for level in above]

    ordered = [
        replace(choices[path], text=path[-1], level=min(len(path) - 1, _DEEPEST)) for path in sorted(choices, key=place)
    ]
    return Facet(name, label_of(name), "tree", tuple(ordered))


def _number(values: Sequence[str]) -> float | None:
    try:
        number = float(values[0]) if values else None
    except ValueError:
        return None
    return int(number) if number is not None and number.is_integer() else number
