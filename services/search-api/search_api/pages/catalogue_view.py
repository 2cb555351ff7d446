"""View models of the catalogue's templates: products, facets with counts, sort orders, and the fields of the form that
adds or changes a product.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from search_api.answers import product
from search_api.context import Context
from search_api.pages.catalogue_state import CatalogueState
from search_api.pages.search_view import facet_fields, label_of, main_attributes
from search_api.pages.shown_values import form_text
from search_api.products.listing import moment_of, sortable_fields
from search_api.search.facets import MOST_LEVELS, Counted, bounds_of, count_all, count_without
from search_api.search.retrieval import Prepared
from vitrine.errors import DatasetNotFound
from vitrine.products import ADDED_AT_FIELD, STANDARD_ATTRIBUTES, AttributeKind, AttributeValue
from vitrine.qdrant.filters import RANGED, FilterSpec
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.schema import CollectionInfo, json_path

PAGE_SIZE: Final = 40
_MOST_VALUES: Final = 60
_SUGGESTED_VALUES: Final = 40
_FACETS: Final = 8
_VERSION_CHARS: Final = 12
_SUGGESTED: Final = (AttributeKind.KEYWORD, AttributeKind.KEYWORDS, AttributeKind.PATH)


@dataclass(frozen=True, slots=True)
class Shown:
    """A product in the grid. The template adds the width to `image`."""

    id: str
    name: str
    image: str
    href: str
    api: str
    search_href: str
    attributes: str
    variants: int = 0


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of the form. `suggestions` are its most frequent values."""

    name: str
    label: str
    kind: AttributeKind
    value: str
    suggestions: tuple[str, ...] = ()


async def datasets_of(context: Context) -> tuple[str, ...]:
    """The datasets that are served. Raises DatasetNotFound if none is."""
    servings = await context.store.servings() or await context.store.servings(fresh=True)
    if not servings:
        raise DatasetNotFound("no dataset is indexed yet")
    return tuple(sorted({one.dataset for one in servings}))


async def serving_of(context: Context, dataset: str | None) -> Serving:
    """Any collection that serves the dataset, by default the configured dataset or the first."""
    if dataset is None:
        offered, configured = await datasets_of(context), context.settings.default_dataset
        dataset = configured if configured in offered else offered[0]
    return (await context.products.servings(dataset))[0]


def shown(payload: Mapping[str, Any], state: CatalogueState, home: str, *, variants: int = 0) -> Shown:
    """A stored product for the grid, with how many more variants it has."""
    one = product(payload, variants)
    digest = str(payload.get("picture_sha256") or "")
    version = f"&v={digest[:_VERSION_CHARS]}" if digest else ""
    return shown_product(one, state, home, version=version)


def shown_product(one: Mapping[str, Any], state: CatalogueState, home: str, *, version: str = "") -> Shown:
    """A product of an answer for the grid."""
    product_id, dataset = str(one["id"]), str(one["dataset"])
    plain = CatalogueState(dataset=dataset, filters=state.filters)
    place = quote(product_id, safe="")
    return Shown(
        id=product_id,
        name=str(one.get("name") or product_id),
        image=f"{one['image']}{version}",
        href=f"{home}products/{place}{plain.query()}",
        api=api_of(home, dataset, product_id),
        search_href=f"{home}{CatalogueState(dataset=dataset).query(('id', product_id))}",
        attributes=main_attributes(one),
        variants=one.get("variants", 0),
    )


def api_of(home: str, dataset: str, product_id: str) -> str:
    """The product's address in the JSON API, for scripts."""
    return f"{home}api/products/{quote(product_id, safe='')}{CatalogueState(dataset=dataset).query()}"


def sorts(info: CollectionInfo) -> list[tuple[str, str]]:
    """The available orders, as (value, label)."""
    times = [("newest", "Newest first"), ("oldest", "Oldest first")] if ADDED_AT_FIELD in info.schema else []
    numbers = [
        choice
        for name in sortable_fields(info.kinds)
        for choice in ((f"-{name}", f"{label_of(name)}, highest first"), (name, f"{label_of(name)}, lowest first"))
    ]
    return [*(times or [("", "As stored")]), *numbers]


async def counted(context: Context, prepared: Prepared) -> dict[str, Any]:
    """`facets` and `ranges` as in a search's answer, over all products that match the filters.

    A field's own filter does not apply to its counts. A field whose values are all different is not a facet.
    """
    kinds = prepared.info.kinds
    fields = facet_fields(kinds)[:_FACETS]
    found = await asyncio.gather(*(_counted(context, prepared.without(name), name, kinds[name]) for name in fields))
    by_name = dict(zip(fields, found, strict=True))
    return {
        "facets": {name: one.counts for name, (one, _) in by_name.items()},
        "ranges": {name: bounds for name, (_, bounds) in by_name.items() if bounds is not None},
        "withoutValue": {name: one.without for name, (one, _) in by_name.items() if one.without},
    }


async def form_fields(context: Context, prepared: Prepared, present: Mapping[str, AttributeValue]) -> list[FormField]:
    """The dataset's fields, the name first, with the product's values; then its further attributes."""
    kinds = prepared.info.kinds
    order = ["name", *(name for name in STANDARD_ATTRIBUTES if name in kinds and name != "name")]
    order += sorted(name for name in {*kinds, *present} if name not in order)
    texts = [name for name in order if kinds.get(name) in _SUGGESTED]
    whole = prepared.with_spec(FilterSpec({}))
    counts = dict(zip(texts, await asyncio.gather(*(_values(context, whole, name) for name in texts)), strict=True))
    return [
        FormField(
            name,
            label_of(name),
            kinds.get(name, AttributeKind.KEYWORD),
            form_text(present.get(name)),
            tuple(str(one["value"]) for one in counts.get(name, [])[:_SUGGESTED_VALUES]),
        )
        for name in order
    ]


async def _values(context: Context, prepared: Prepared, name: str) -> list[dict[str, Any]]:
    kind = prepared.info.kinds[name]
    found = await count_all(context.store, prepared.without(name), name, kind, limit=_MOST_VALUES)
    return _worth_showing(found).counts


async def _counted(
    context: Context, prepared: Prepared, name: str, kind: AttributeKind
) -> tuple[Counted, dict[str, Any] | None]:
    """The counts of a field, and the bounds of numbers and dates."""
    if kind not in RANGED:
        most = MOST_LEVELS if kind is AttributeKind.PATH else _MOST_VALUES
        found = await count_all(context.store, prepared, name, kind, limit=most)
        return found if kind is AttributeKind.PATH else _worth_showing(found), None
    without, bounds = await asyncio.gather(
        count_without(context.store, prepared, name, kind), bounds_of(context.store, prepared, json_path(name))
    )
    if bounds is None:
        return Counted([], without), None
    least, greatest = bounds
    if kind is AttributeKind.DATE:
        days = (moment_of(end).date().isoformat() for end in bounds)
        return Counted([], without), dict(zip(("min", "max"), days, strict=True))
    return Counted([], without), {"min": least, "max": greatest}


def _worth_showing(found: Counted) -> Counted:
    """A field whose values are nearly all different has no choices."""
    unlike = found.counts and found.counts[0]["count"] == 1 and len(found.counts) > _MOST_VALUES // 2
    return replace(found, counts=[]) if unlike else found
