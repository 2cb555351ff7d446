"""Facets of a search, and hints for one without results."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from search_api.products.listing import moment_of
from search_api.search.buckets import (
    FEW_VALUES,
    Bucket,
    Owned,
    count_dates,
    count_numbers,
    date_buckets,
    number_buckets,
    owned,
)
from vitrine.errors import ParameterInvalid
from vitrine.kinds import DateSpan, filterable, is_right_below, path_levels, path_text, text_of
from vitrine.products import VARIANT_FIELD, AttributeKind, group_of
from vitrine.qdrant.filters import RANGED, FieldFilter, FilterSpec
from vitrine.qdrant.schema import CollectionInfo, field_key, json_path

if TYPE_CHECKING:
    from search_api.search.retrieval import Prepared, Retrieval
    from search_api.vector_store import Query, VectorStore

# The number of nearest products that are counted if no minimum confidence decides which ones match.
BEST_COUNTED: Final = 200
MOST_COUNTED: Final = 1_000
MOST_LEVELS: Final = 300  # of category paths, so that their tree is whole
_VARIANTS_READ: Final = 4  # for each product that is counted
_OWNER: Final = ("product_id", VARIANT_FIELD)
_MOST_VALUES: Final = 100
_VALUES_COMPARED: Final = 1_000
# As many as a collection gives at once. A level has at least the products of each level below, so it comes first.
_LEVELS_COMPARED: Final = 1_000
_MOST_HINTS: Final = 5
_SIMILARITY: Final = 0.6


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of a field, and how many products have no value."""

    counts: list[dict[str, Any]]
    without: int


async def count_facets(
    retrieval: Retrieval,
    prepared: Prepared,
    query: Query,
    fields: Sequence[str],
    *,
    min_score: float | None,
    count: int = BEST_COUNTED,
) -> dict[str, Any]:
    """Count the values of fields among the `count` nearest products with at least `min_score`.

    `facets` has the values of each field with their counts, most frequent first, or its buckets in ascending order;
    `ranges` the bounds of numbers and dates; `withoutValue` how many products have none. A field's own filter does not
    apply to its counts, so that another value can be chosen. Where one of each product is found, a product counts once
    for each value that any of its variants has. Raises ParameterInvalid.
    """
    kinds = {field: check_facet(field, prepared.info) for field in fields}
    unfiltered = [field for field in fields if field not in prepared.spec.fields]
    groups = [unfiltered] if unfiltered else []
    groups += [[field] for field in fields if field in prepared.spec.fields]
    counted = await asyncio.gather(
        *(
            retrieval.nearest_payloads(
                prepared.without(group[0]),
                query,
                fields=[*map(json_path, group), *(_OWNER if prepared.one_of_each else ())],
                limit=min(count * _VARIANTS_READ, MOST_COUNTED) if prepared.one_of_each else count,
                min_score=min_score,
            )
            for group in groups
        )
    )
    if prepared.one_of_each:
        counted = [_of_best_products(found, count) for found in counted]
    payloads = {field: found for group, found in zip(groups, counted, strict=True) for field in group}
    with_value = {field: [payload for payload in payloads[field] if field in payload] for field in fields}
    values = {field: [payload[field] for payload in found] for field, found in with_value.items()}
    owners: dict[str, list[str] | None] = {
        field: [group_of(payload) for payload in found] if prepared.one_of_each else None
        for field, found in with_value.items()
    }
    missing = {
        field: _how_many([payload for payload in payloads[field] if field not in payload], prepared.one_of_each)
        for field in fields
    }
    return {
        "facets": {field: count_values(values[field], kind, owners[field]) for field, kind in kinds.items()},
        "ranges": {
            field: {"min": min(ordered), "max": max(ordered)}
            for field, kind in kinds.items()
            if kind in RANGED and (ordered := [value for value in values[field] if _is_ordered(value, kind)])
        },
        "withoutValue": {field: count for field, count in missing.items() if count},
    }


def _of_best_products(payloads: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The payloads, best first, of the variants of the first `count` products."""
    best = list(dict.fromkeys(map(group_of, payloads)))[:count]
    return [payload for payload in payloads if group_of(payload) in set(best)] if len(best) == count else [*payloads]


def _how_many(payloads: Sequence[dict[str, Any]], one_of_each: bool) -> int:
    return len(set(map(group_of, payloads))) if one_of_each else len(payloads)


def check_facet(field: str, info: CollectionInfo) -> AttributeKind:
    """The kind of a field whose values can be counted. Raises ParameterInvalid."""
    offered = filterable(info.filters)
    if field not in offered:
        free = " is free text, which has too many values to count" if field in info.filters else " is not a field"
        raise ParameterInvalid(f"facet {field[:80]!r}{free}; the fields are: {', '.join(sorted(offered))}")
    return offered[field]


def count_values(
    values: Sequence[Any], kind: AttributeKind, owners: Sequence[Hashable] | None = None
) -> list[dict[str, Any]]:
    """The counts of these values: each value of a list and each level of a path, or buckets of numbers and dates.

    `owners` has the product of each value; a product counts once for each value or bucket.
    """
    pairs = owned(values, owners)
    match kind:
        case AttributeKind.DATE:
            return count_dates(values, owners)
        case AttributeKind.DECIMAL | AttributeKind.INTEGER:
            pairs = [pair for pair in pairs if _is_ordered(pair[1], kind)]
            whole = kind is AttributeKind.INTEGER
            if whole and len({number for _, number in pairs}) <= FEW_VALUES:
                return _commonest(pairs)
            return count_numbers([number for _, number in pairs], whole=whole, owners=[owner for owner, _ in pairs])
        case AttributeKind.PATH:
            levels = [(owner, level) for owner, value in pairs for level in path_levels(value)]
            return _commonest(levels, most=MOST_LEVELS)
    return _commonest(
        [(owner, one) for owner, value in pairs for one in (value if isinstance(value, list) else (value,))]
    )


async def count_all(
    store: VectorStore, prepared: Prepared, field: str, kind: AttributeKind, *, limit: int, under: str | None = None
) -> Counted:
    """Count the values of a field among all products that match the filters, exactly.

    With `under`, only the levels of category paths that are right below that one are counted; empty: the top levels.
    """
    info, condition = prepared.info, prepared.spec.compile()
    key = json_path(field_key(field, kind))
    missing = count_without(store, prepared, field, kind)
    if kind in (AttributeKind.DECIMAL, AttributeKind.DATE):
        return Counted(*await asyncio.gather(_buckets(store, prepared, key, kind), missing))
    parent = path_text(under) if under is not None and kind is AttributeKind.PATH else None
    most = max(limit, FEW_VALUES + 1) if kind is AttributeKind.INTEGER else limit
    if parent is not None:
        most = _LEVELS_COMPARED
        if parent:
            condition = narrowed(condition, models.FieldCondition(key=key, match=models.MatchValue(value=parent)))
    hits, without = await asyncio.gather(store.facet(info.name, key, condition=condition, limit=most), missing)
    if kind is AttributeKind.INTEGER and len(hits) > FEW_VALUES:
        return Counted(await _buckets(store, prepared, key, kind), without)
    if parent is not None:
        hits = [hit for hit in hits if is_right_below(str(hit.value), parent)]
    ordered = sorted(hits, key=lambda hit: (-hit.count, str(hit.value)))
    return Counted([{"value": hit.value, "count": hit.count} for hit in ordered[:limit]], without)


async def count_without(store: VectorStore, prepared: Prepared, field: str, kind: AttributeKind) -> int:
    """How many of the products that match the filters have no value of a field."""
    key = json_path(field_key(field, kind))
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
    return await store.count(prepared.info.name, narrowed(prepared.spec.compile(), empty))


async def _buckets(store: VectorStore, prepared: Prepared, key: str, kind: AttributeKind) -> list[dict[str, Any]]:
    bounds = await bounds_of(store, prepared, key)
    if bounds is None:
        return []
    least, greatest = bounds
    if kind is AttributeKind.DATE:
        buckets = date_buckets(moment_of(least), moment_of(greatest))
    else:
        buckets = number_buckets(least, greatest, whole=kind is AttributeKind.INTEGER)
    condition = prepared.spec.compile()
    counts = await asyncio.gather(
        *(store.count(prepared.info.name, narrowed(condition, _within(key, bucket))) for bucket in buckets)
    )
    return [bucket.counted(count) for bucket, count in zip(buckets, counts, strict=True)]


def _within(key: str, bucket: Bucket) -> models.FieldCondition:
    ends: dict[str, Any] = {"gte": bucket.start, "lte" if bucket.closed else "lt": bucket.end}
    kind = models.DatetimeRange if isinstance(bucket.start, datetime) else models.Range
    return models.FieldCondition(key=key, range=kind(**ends))


async def bounds_of(store: VectorStore, prepared: Prepared, key: str) -> tuple[float, float] | None:
    """The least and the greatest value of an ordered field; of dates in microseconds since 1970."""
    condition = prepared.spec.compile()

    async def end(direction: models.Direction) -> float | None:
        order = models.OrderBy(key=key, direction=direction)
        records, _ = await store.scroll(prepared.info.name, condition=condition, limit=1, order_by=order)
        value = records[0].order_value if records else None
        return value if isinstance(value, int | float) else None

    least, greatest = await asyncio.gather(end(models.Direction.ASC), end(models.Direction.DESC))
    return None if least is None or greatest is None else (least, greatest)


def narrowed(condition: models.Filter | None, *more: models.Condition) -> models.Filter:
    """The condition together with further ones."""
    return models.Filter(must=[*more, *([condition] if condition is not None else [])])


async def why_nothing(retrieval: Retrieval, prepared: Prepared) -> dict[str, Any]:
    """`hints` on filter values that no product has, and `relax`: the matches without each filter."""
    unknown = await asyncio.gather(
        *(
            _hint(retrieval, prepared, name, value)
            for name, conditions in prepared.spec.fields.items()
            for value in conditions.any_of
            if isinstance(value, str)
        )
    )
    hints = [hint for hint in unknown if hint is not None][:_MOST_HINTS]
    names = list(prepared.spec.fields)
    counts = await asyncio.gather(*(retrieval.total(prepared.without(name)) for name in names))
    relax = [
        {"filter": name, "values": _shown(prepared.spec.fields[name]), "products": count}
        for name, count in sorted(zip(names, counts, strict=True), key=lambda one: -one[1])
        if count
    ]
    return {"hints": hints, "relax": relax[:_MOST_HINTS]}


async def _hint(retrieval: Retrieval, prepared: Prepared, name: str, value: str) -> str | None:
    """A suggestion for a value that no product has; None if some product has it."""
    kind = prepared.spec.fields[name].kind
    alone = prepared.with_spec(FilterSpec({name: FieldFilter(any_of=(value,), kind=kind)}))
    if await retrieval.matches(alone):
        return None
    key = json_path(field_key(name, kind))
    counts = await retrieval.store.facet(prepared.info.name, key, condition=None, limit=_VALUES_COMPARED)
    by_lowered = {str(item.value).casefold(): str(item.value) for item in reversed(counts)}
    close = get_close_matches(value.casefold(), by_lowered, n=1, cutoff=_SIMILARITY)
    question = f"; did you mean {by_lowered[close[0]]}?" if close else ""
    return f"no product has {name}={value}{question}"


def _is_ordered(value: Any, kind: AttributeKind) -> bool:
    """Whether a value has its kind's form. Others are shown with their product, but are not indexed."""
    return isinstance(value, str if kind is AttributeKind.DATE else int | float) and not isinstance(value, bool)


def _commonest(pairs: Sequence[Owned], *, most: int = _MOST_VALUES) -> list[dict[str, Any]]:
    counts = Counter(value for _, value in dict.fromkeys(pairs))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [{"value": value, "count": count} for value, count in ordered[:most]]


def _shown(conditions: FieldFilter) -> list[str]:
    """The conditions on one field, as text."""
    return [
        *(text_of(value) for value in conditions.any_of),
        *(f"not {text_of(value)}" for value in conditions.none_of),
        *([f"at least {_bound(conditions.at_least)}"] if conditions.at_least is not None else []),
        *([f"at most {_bound(conditions.at_most)}"] if conditions.at_most is not None else []),
        *(["without a value"] if conditions.absent else []),
        *(["with a value"] if conditions.present else []),
    ]


def _bound(bound: float | DateSpan) -> str:
    return str(bound) if isinstance(bound, DateSpan) else f"{bound:g}"
