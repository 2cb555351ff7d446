"""The garments of a picture in an answer, and the filters that follow from the kind of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from search_api.answers import Confidence
from vitrine.embedding import FoundGarment
from vitrine.garments import BY_NAME
from vitrine.products import AttributeKind
from vitrine.qdrant.filters import FieldFilter, FilterSpec

if TYPE_CHECKING:
    from search_api.search.retrieval import Prepared, Retrieval

# By the attribute: the values that a garment may have. Any of the values matches.
KindFilters = Mapping[str, Sequence[str]]
# The best match of a garment must be at least this likely of its kind, by the release's calibration.
LEAST_LIKELY: Final = 0.1
_KEYWORDS: Final = frozenset({AttributeKind.KEYWORD, AttributeKind.KEYWORDS})
_DIGITS: Final = 4


async def filters_of_kind(retrieval: Retrieval, prepared: Prepared, kind: str) -> dict[str, list[str]]:
    """The attributes that follow from a kind of garment, of those that the collection has, with the values that some
    of its products have. An attribute that the caller filters by is left out.
    """
    known = BY_NAME.get(kind)
    wanted = {
        field: values
        for field, values in (known.fields if known is not None else {}).items()
        if prepared.info.filters.get(field) in _KEYWORDS and field not in prepared.spec.fields
    }
    pairs = [(field, value) for field, values in wanted.items() for value in values]
    counts = await asyncio.gather(
        *(retrieval.matches(prepared.with_spec(_spec_of(prepared, {field: [value]}))) for field, value in pairs)
    )
    found: dict[str, list[str]] = {}
    for (field, value), count in zip(pairs, counts, strict=True):
        if count:
            found.setdefault(field, []).append(value)
    return found


def of_kind(prepared: Prepared, filters: KindFilters) -> Prepared:
    """The same search with these filters too."""
    own = _spec_of(prepared, filters)
    return replace(prepared, spec=FilterSpec({**prepared.spec.fields, **own.fields})) if own else prepared


def garment_answer(garment: FoundGarment, filters: KindFilters) -> dict[str, Any]:
    """A garment as a `GarmentOut`; numbers are fractions of the upright picture."""
    box = garment.box
    return {
        "number": garment.number,
        "kind": garment.kind,
        "title": garment.title,
        "probability": round(garment.probability, _DIGITS),
        "box": {
            "x": round(box.x, _DIGITS),
            "y": round(box.y, _DIGITS),
            "width": round(box.width, _DIGITS),
            "height": round(box.height, _DIGITS),
        },
        "outline": [[[round(x, _DIGITS), round(y, _DIGITS)] for x, y in polygon] for polygon in garment.outline],
        "share": round(garment.share, _DIGITS),
        "searchable": garment.searchable,
        "filters": {field: list(values) for field, values in filters.items()},
    }


def is_nothing_like(points: Sequence[models.ScoredPoint], confidence: Confidence) -> bool:
    """Whether nothing was found, or even the best match is unlikely by the release's calibration."""
    if not points:
        return True
    likely = confidence.of(points[0].score)
    return likely is not None and likely < LEAST_LIKELY


def _spec_of(prepared: Prepared, filters: KindFilters) -> FilterSpec:
    kinds = prepared.info.filters
    return FilterSpec(
        {field: FieldFilter(any_of=tuple(values), kind=kinds[field]) for field, values in filters.items()}
    )
