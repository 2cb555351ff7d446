"""Facets of a search, and hints for one without results."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from vitrine.errors import ParameterInvalid
from vitrine.products import HIDDEN_FIELDS
from vitrine.qdrant.filters import FieldFilter, FilterSpec

if TYPE_CHECKING:
    from search_api.search.retrieval import Prepared, Retrieval
    from search_api.vector_store import Query

# The number of nearest products that are counted if no minimum confidence decides which ones match.
BEST_COUNTED: Final = 200
MOST_COUNTED: Final = 1_000
_MOST_VALUES: Final = 100
_VALUES_COMPARED: Final = 1_000
_MOST_HINTS: Final = 5
_SIMILARITY: Final = 0.6


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

    `facets` has the values of each field with their counts, most frequent first; `ranges` the bounds of numeric fields.
    A field's own filter does not apply to its counts, so that another value can be chosen. Raises ParameterInvalid.
    """
    for field in fields:
        if field not in prepared.info.schema or field in HIDDEN_FIELDS:
            offered = ", ".join(sorted(prepared.info.schema.keys() - HIDDEN_FIELDS))
            raise ParameterInvalid(f"facet {field[:80]!r} is not a field; the fields are: {offered}")
    unfiltered = [field for field in fields if field not in prepared.spec.fields]
    groups = [unfiltered] if unfiltered else []
    groups += [[field] for field in fields if field in prepared.spec.fields]
    counted = await asyncio.gather(
        *(
            retrieval.nearest_payloads(
                prepared.without(group[0]),
                query,
                fields=group,
                limit=count,
                min_score=min_score,
            )
            for group in groups
        )
    )
    payloads = {field: found for group, found in zip(groups, counted, strict=True) for field in group}
    values = {field: [payload[field] for payload in payloads[field] if field in payload] for field in fields}
    schema = prepared.info.schema
    return {
        "facets": {field: _commonest(values[field]) for field in fields if schema[field] != "float"},
        "ranges": {
            field: {"min": min(values[field]), "max": max(values[field])}
            for field in fields
            if schema[field] != "keyword" and values[field]
        },
    }


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
    counts = await asyncio.gather(*(retrieval.matches(prepared.without(name)) for name in names))
    relax = [
        {"filter": name, "values": _shown(prepared.spec.fields[name]), "products": count}
        for name, count in sorted(zip(names, counts, strict=True), key=lambda one: -one[1])
        if count
    ]
    return {"hints": hints, "relax": relax[:_MOST_HINTS]}


async def _hint(retrieval: Retrieval, prepared: Prepared, name: str, value: str) -> str | None:
    """A suggestion for a value that no product has; None if some product has it."""
    alone = prepared.with_spec(FilterSpec({name: FieldFilter(any_of=(value,))}))
    if await retrieval.matches(alone):
        return None
    counts = await retrieval.store.facet(prepared.info.name, name, condition=None, limit=_VALUES_COMPARED)
    by_lowered = {str(item.value).casefold(): str(item.value) for item in reversed(counts)}
    close = get_close_matches(value.casefold(), by_lowered, n=1, cutoff=_SIMILARITY)
    question = f"; did you mean {by_lowered[close[0]]}?" if close else ""
    return f"no product has {name}={value}{question}"


def _commonest(values: Sequence[Any]) -> list[dict[str, Any]]:
    ordered = sorted(Counter(values).items(), key=lambda item: (-item[1], str(item[0])))
    return [{"value": value, "count": count} for value, count in ordered[:_MOST_VALUES]]


def _shown(conditions: FieldFilter) -> list[str]:
    """The conditions on one field, as text."""
    return [
        *(str(value) for value in conditions.any_of),
        *(f"not {value}" for value in conditions.none_of),
        *([f"at least {conditions.at_least:g}"] if conditions.at_least is not None else []),
        *([f"at most {conditions.at_most:g}"] if conditions.at_most is not None else []),
    ]
