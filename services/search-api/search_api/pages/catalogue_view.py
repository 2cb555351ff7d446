"""View models of the catalogue's templates: products, facets with counts, sort orders, and the fields of the form that
adds or changes a product.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from qdrant_client import models

from search_api.answers import product
from search_api.context import Context
from search_api.pages.catalogue_state import CatalogueState
from search_api.pages.search_view import facet_fields, label_of, main_attributes
from search_api.products.listing import sortable_fields
from search_api.search.retrieval import Prepared
from vitrine.errors import DatasetNotFound
from vitrine.products import ADDED_AT_FIELD, PAYLOAD_NAMES, STANDARD_ATTRIBUTES, AttributeValue
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.schema import FieldType

PAGE_SIZE: Final = 40
_MOST_VALUES: Final = 60
_SUGGESTED_VALUES: Final = 40
_FACETS: Final = 8
_VERSION_CHARS: Final = 12


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


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of the form. `suggestions` are its most frequent values."""

    name: str
    label: str
    kind: FieldType
    value: AttributeValue | None
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


def shown(payload: Mapping[str, Any], state: CatalogueState, home: str) -> Shown:
    """A stored product for the grid."""
    one = product(payload)
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
    )


def api_of(home: str, dataset: str, product_id: str) -> str:
    """The product's address in the JSON API, for scripts."""
    return f"{home}api/products/{quote(product_id, safe='')}{CatalogueState(dataset=dataset).query()}"


def sorts(schema: Mapping[str, FieldType]) -> list[tuple[str, str]]:
    """The available orders, as (value, label)."""
    times = [("newest", "Newest first"), ("oldest", "Oldest first")] if ADDED_AT_FIELD in schema else []
    numbers = [
        choice
        for name in sortable_fields(schema)
        for choice in ((f"-{name}", f"{label_of(name)}, highest first"), (name, f"{label_of(name)}, lowest first"))
    ]
    return [*(times or [("", "As stored")]), *numbers]


async def counted(context: Context, prepared: Prepared) -> dict[str, Any]:
    """`facets` and `ranges` as in a search's answer, over all products that match the filters.

    A field's own filter does not apply to its counts. A field whose values are all different is not a facet.
    """
    schema = prepared.info.schema
    fields = facet_fields(schema)[:_FACETS]
    found = await asyncio.gather(
        *(
            _values(context, prepared, name) if schema[name] == "keyword" else _range(context, prepared, name)
            for name in fields
        )
    )
    by_name = dict(zip(fields, found, strict=True))
    return {
        "facets": {name: one for name, one in by_name.items() if isinstance(one, list)},
        "ranges": {name: one for name, one in by_name.items() if isinstance(one, dict)},
    }


async def form_fields(context: Context, prepared: Prepared, present: Mapping[str, AttributeValue]) -> list[FormField]:
    """The dataset's fields, the name first, with the product's values; then its further attributes."""
    schema = {name: kind for name, kind in prepared.info.schema.items() if name not in PAYLOAD_NAMES}
    order = ["name", *(name for name in STANDARD_ATTRIBUTES if name in schema and name != "name")]
    order += sorted(name for name in {*schema, *present} if name not in order)
    texts = [name for name in order if schema.get(name) == "keyword"]
    whole = prepared.with_spec(FilterSpec({}))
    counts = dict(zip(texts, await asyncio.gather(*(_values(context, whole, name) for name in texts)), strict=True))
    return [
        FormField(
            name,
            label_of(name),
            schema.get(name, "keyword"),
            present.get(name),
            tuple(str(one["value"]) for one in counts.get(name, [])[:_SUGGESTED_VALUES]),
        )
        for name in order
    ]


async def _values(context: Context, prepared: Prepared, name: str) -> list[dict[str, Any]]:
    condition = prepared.without(name).spec.compile()
    hits = await context.store.facet(prepared.info.name, name, condition=condition, limit=_MOST_VALUES)
    if hits and hits[0].count == 1 and len(hits) > _MOST_VALUES // 2:
        return []
    return [{"value": hit.value, "count": hit.count} for hit in hits]


async def _range(context: Context, prepared: Prepared, name: str) -> dict[str, float] | None:
    condition = prepared.without(name).spec.compile()

    async def end(direction: models.Direction) -> float | None:
        order = models.OrderBy(key=name, direction=direction)
        records, _ = await context.store.scroll(prepared.info.name, condition=condition, limit=1, order_by=order)
        value = records[0].order_value if records else None
        return value if isinstance(value, int | float) else None

    least, greatest = await asyncio.gather(end(models.Direction.ASC), end(models.Direction.DESC))
    return None if least is None or greatest is None else {"min": least, "max": greatest}
