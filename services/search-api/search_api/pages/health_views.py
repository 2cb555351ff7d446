"""Convert the JSON of a health report to what its page shows. The file is untrusted: what is missing or has another
type is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from search_api.pages.catalogue_state import CatalogueState
from search_api.pages.formats import number, percent
from search_api.pages.search_view import label_of

_MOST: Final = 200
_MOST_MEMBERS: Final = 24
_MOST_VALUES: Final = 12
_KINDS: Final = {
    "same file": "The same file",
    "nearly the same": "Nearly the same picture",
    "mirrored": "Nearly the same picture, some mirrored",
    "further picture": "A further picture in common",
}
_ODDITIES: Final = {"blank": "blank picture", "greyscale": "greyscale picture"}
_WIDTH_PX: Final = "256"
_EMPTY: Final = "(empty)"


@dataclass(frozen=True, slots=True)
class Item:
    """A product with its picture. `notes` are short remarks below it."""

    id: str
    name: str
    image: str
    href: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Products side by side, and the attributes in which they differ with their values."""

    title: str
    items: tuple[Item, ...]
    more: int
    differing: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A label that is probably wrong. `filtered` are products with the suggested label."""

    item: Item
    given: str
    suggested: str
    confidence: float
    filtered: str
    detail: str


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """An attribute. `rare` are its rare values with their counts and the products that have them."""

    name: str
    empty: int
    share: float
    empty_href: str
    values: int | None
    rare: tuple[tuple[str, int, str], ...]
    rare_total: int


@dataclass(frozen=True, slots=True)
class TwinRow:
    """Spellings of one value of an attribute: the suggested one, and (value, count, why, products) of each other."""

    attribute: str
    suggested: str
    count: int
    others: tuple[tuple[str, int, str, str], ...]


@dataclass(frozen=True, slots=True)
class HealthView:
    """A health report. Totals are of the catalogue, the lists may be shorter."""

    title: str
    facts: tuple[str, ...]
    label: str
    totals: Mapping[str, int]
    groups: tuple[DuplicateGroup, ...]
    compared: str
    suspects: tuple[Suspect, ...]
    how: str
    judged: str
    pairs: tuple[tuple[str, str, int, int], ...]
    outliers: tuple[Item, ...]
    odd: tuple[Item, ...]
    attributes: tuple[AttributeRow, ...]
    twins: tuple[TwinRow, ...]


def health_view(document: Mapping[str, Any], *, home: str) -> HealthView:
    """The view of `health.json`. `home` is the address of the start page, which all links begin with."""
    links = _Links(home, str(document.get("dataset") or ""))
    groups, labels = _mapping(document.get("duplicates")), _mapping(document.get("labels"))
    outliers, odd = _mapping(document.get("outliers")), _mapping(document.get("pictures"))
    twins, label = _mapping(document.get("twins")), str(document.get("label") or "")
    parts = {"duplicates": groups, "labels": labels, "outliers": outliers, "pictures": odd, "twins": twins}
    return HealthView(
        title=str(document.get("title") or "Health report"),
        facts=_facts(document),
        label=label_of(label).lower() if label else "",
        totals={name: _whole(part.get("total")) for name, part in parts.items()},
        groups=tuple(_group(one, links) for one in _mappings(groups.get("groups"))),
        compared=_compared(groups),
        suspects=tuple(_suspect(one, label, links) for one in _mappings(labels.get("suspects"))),
        how=str(labels.get("how") or ""),
        judged=_judged(labels),
        pairs=tuple(
            (str(one.get("given")), str(one.get("suggested")), _whole(one.get("suspects")), _whole(one.get("products")))
            for one in _mappings(labels.get("pairs"))[:_MOST_VALUES]
        ),
        outliers=tuple(links.item(one, *_outlier_notes(one)) for one in _mappings(outliers.get("products"))),
        odd=tuple(links.item(one, *_oddity(one)) for one in _mappings(odd.get("products"))),
        attributes=tuple(_attribute(one, links) for one in _mappings(document.get("attributes"))),
        twins=tuple(_twins(one, links) for one in _mappings(twins.get("groups"))),
    )


class _Links:
    """Addresses of a dataset's products."""

    def __init__(self, home: str, dataset: str) -> None:
        self._home = home
        self._state = CatalogueState(dataset=dataset)

    def item(self, one: Mapping[str, Any], *notes: str) -> Item:
        product_id, place = str(one.get("id")), quote(str(one.get("id")), safe="")
        version = str(one.get("version") or "")
        query = self._state.query(*([("v", version)] if version else []), ("width", _WIDTH_PX))
        return Item(
            id=product_id,
            name=str(one.get("name") or product_id),
            image=f"{self._home}api/images/{place}{query}",
            href=f"{self._home}products/{place}{self._state.query()}",
            notes=notes,
        )

    def products(self, attribute: str, value: str) -> str:
        """The products of the catalogue that have the value; with an empty one those without any."""
        return f"{self._home}catalogue{self._state.filtering(attribute, value).query()}"


def _facts(document: Mapping[str, Any]) -> tuple[str, ...]:
    made_at = str(document.get("made_at") or "")[:16].replace("T", " ")
    return (
        f"{number(_whole(document.get('products')))} products",
        f"as {document.get('release_id')} sees them",
        f"made {made_at} UTC",
    )


def _compared(groups: Mapping[str, Any]) -> str:
    left_out, variants = _whole(groups.get("left_out")), _whole(groups.get("variant_groups"))
    said = [f"{number(_whole(groups.get('compared')))} pairs of neighbours were compared by their pictures."]
    if left_out:
        said.append(f"{number(left_out)} less similar pairs were not.")
    if variants:
        said.append(f"{number(variants)} groups that are variants of one product are not listed.")
    return " ".join(said)


def _judged(labels: Mapping[str, Any]) -> str:
    agreeing = labels.get("agreeing")
    if not _whole(labels.get("judged")) or not isinstance(agreeing, int | float):
        return ""
    return (
        f"Of {number(_whole(labels.get('judged')))} products, {percent(float(agreeing), 1)} have the label that their "
        "neighbours suggest."
    )


def _group(one: Mapping[str, Any], links: _Links) -> DuplicateGroup:
    members = _mappings(one.get("members"))[:_MOST_MEMBERS]
    count = _whole(one.get("products"))
    title = _KINDS.get(str(one.get("kind")), "Alike")
    if one.get("placeholder"):
        title = "A placeholder: one picture in many products"
    if one.get("oddity") in _ODDITIES:
        title += f", a {_ODDITIES[str(one['oddity'])]}"
    return DuplicateGroup(
        title=f"{title}: {number(count)} products",
        items=tuple(links.item(member, *(["mirrored"] if member.get("mirrored") else [])) for member in members),
        more=max(0, count - len(members)),
        differing=tuple(
            (label_of(str(name)), ", ".join(str(value) or _EMPTY for value in _sequence(values)[:_MOST_VALUES]))
            for name, values in _mapping(one.get("differing")).items()
        ),
    )


def _suspect(one: Mapping[str, Any], label: str, links: _Links) -> Suspect:
    suggested = str(one.get("suggested"))
    detail = [f"neighbours {percent(_share(one.get('neighbours')))}"]
    if isinstance(one.get("classifier"), int | float):
        detail.append(f"classifier {percent(_share(one.get('classifier')))}")
    return Suspect(
        item=links.item(one),
        given=str(one.get("given")),
        suggested=suggested,
        confidence=_share(one.get("confidence")),
        filtered=links.products(label, suggested),
        detail=", ".join(detail),
    )


def _outlier_notes(one: Mapping[str, Any]) -> list[str]:
    distance = one.get("distance")
    far = [f"distance {distance:.2f}"] if isinstance(distance, int | float) else []
    return [*([str(one["label"])] if one.get("label") else []), *far, *_oddity(one)]


def _oddity(one: Mapping[str, Any]) -> list[str]:
    return [_ODDITIES[str(one["oddity"])]] if one.get("oddity") in _ODDITIES else []


def _attribute(one: Mapping[str, Any], links: _Links) -> AttributeRow:
    name, values = str(one.get("name")), one.get("values")
    return AttributeRow(
        name=label_of(name),
        empty=_whole(one.get("empty")),
        share=_share(one.get("share")),
        empty_href=links.products(name, ""),
        values=values if isinstance(values, int) else None,
        rare=tuple(
            (str(rare.get("value")), _whole(rare.get("count")), links.products(name, str(rare.get("value"))))
            for rare in _mappings(one.get("rare"))[:_MOST_VALUES]
        ),
        rare_total=_whole(one.get("rare_total")),
    )


def _twins(one: Mapping[str, Any], links: _Links) -> TwinRow:
    attribute = str(one.get("attribute"))
    return TwinRow(
        attribute=label_of(attribute),
        suggested=str(one.get("suggested")),
        count=_whole(one.get("count")),
        others=tuple(
            (value, _whole(other.get("count")), str(other.get("why") or ""), links.products(attribute, value))
            for other in _mappings(one.get("spellings"))
            for value in (str(other.get("value")),)
        ),
    )


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _share(value: Any) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, int | float) else 0.0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in _sequence(value)[:_MOST] if isinstance(one, Mapping)]
