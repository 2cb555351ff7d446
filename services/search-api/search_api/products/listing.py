"""The products of a dataset, page by page, filtered and sorted. Each page returns the place where the next one begins.

A listing has up to two parts: the products with a value in the sort field, and the rest. Qdrant can sort by a number
but not continue after a point. So the sorted part is read value by value; a page that ends among products of one value
continues there by their ids. Point ids derive from product ids: the order is the same with every model of the dataset,
and a place stays valid after a new indexing.

A product that exists throughout is listed once, unless its sort value changes meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from qdrant_client import models

from search_api.vector_store import VectorStore
from vitrine.errors import ParameterInvalid
from vitrine.products import ADDED_AT_FIELD, HIDDEN_FIELDS
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.schema import FieldType

Payload = dict[str, Any]
Part = Literal["ordered", "rest"]
_MAX_ASKED: Final = 1_000  # the limit of a collection's strict mode
_EXPORT_PAGE: Final = 250
_LOWEST_ID: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Order:
    """The sort field, and which part comes first. Without a field all products are sorted by point id."""

    field: str | None = None
    descending: bool = False
    parts: tuple[Part, ...] = ("rest",)

    @classmethod
    def of(cls, sort: str | None, schema: Mapping[str, FieldType]) -> Order:
        """Parse `newest`, `oldest`, or a numeric field with an optional `-`. Raises ParameterInvalid."""
        if sort is None:
            return cls()
        if sort in ("newest", "oldest"):
            if ADDED_AT_FIELD not in schema:
                raise ParameterInvalid(
                    f"sort {sort!r}: this dataset was indexed before Vitrine stored when products are added; "
                    "index it again, or put a product"
                )
            # Products without a time were stored before Vitrine recorded times.
            return (
                cls(ADDED_AT_FIELD, descending=True, parts=("ordered", "rest"))
                if sort == "newest"
                else cls(ADDED_AT_FIELD, parts=("rest", "ordered"))
            )
        field = sort.removeprefix("-")
        offered = sortable_fields(schema)
        if field not in offered:
            raise ParameterInvalid(
                f"sort {sort[:80]!r} is not possible: use newest, oldest, or a numeric field, with '-' before it for "
                f"the largest first; the numeric fields are: {', '.join(offered) or 'none'}"
            )
        return cls(field, descending=sort.startswith("-"), parts=("ordered", "rest"))


@dataclass(frozen=True, slots=True)
class Place:
    """The beginning of a page: the part, the value to continue after, or a point among the products of that value."""

    part: Part
    value: float | None = None
    point: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The products of one collection that match `spec`, in `order`."""

    store: VectorStore
    dataset: str
    collection: str
    spec: FilterSpec
    order: Order

    @property
    def beginning(self) -> Place:
        return Place(self.order.parts[0])

    async def page(self, place: Place, limit: int) -> tuple[list[Payload], Place | None]:
        """(payloads, the place of the next page or None at the end). Only the last page is shorter than `limit`."""
        found: list[Payload] = []
        at: Place | None = place
        while at is not None and len(found) < limit:
            some, at = await self._some(at, limit - len(found))
            found += some
        if at is not None and at.point is None and await self._is_empty_from(at):
            at = None
        return found, at

    async def pages(self, place: Place | None = None) -> AsyncIterator[list[Payload]]:
        """All pages, in small batches."""
        at: Place | None = place or self.beginning
        while at is not None:
            found, at = await self.page(at, _EXPORT_PAGE)
            yield found

    async def _is_empty_from(self, place: Place) -> bool:
        at: Place | None = place
        while at is not None:
            found, at = await self._some(at, 1)
            if found or (at is not None and at.point is not None):
                return False
        return True

    async def _some(self, place: Place, limit: int) -> tuple[list[Payload], Place | None]:
        if place.part == "rest":
            records, following = await self._by_id(self._lacking(), limit, place.point)
            return records, Place("rest", point=following) if following else self._after("rest")
        if place.point is not None:
            records, following = await self._by_id(self._having(place.value), limit, place.point)
            return records, Place("ordered", place.value, following)
        return await self._beyond(place.value, limit)

    async def _beyond(self, value: float | None, limit: int) -> tuple[list[Payload], Place | None]:
        """Products of the next values. Those of the last value may be incomplete, so they are read by id afterwards."""
        assert self.order.field is not None
        asked = min(limit + 1, _MAX_ASKED)
        direction = models.Direction.DESC if self.order.descending else models.Direction.ASC
        records, _ = await self.store.scroll(
            self.collection,
            condition=self._filter(*self._further(value)),
            limit=asked,
            order_by=models.OrderBy(key=self.order.field, direction=direction),
        )
        sign = -1 if self.order.descending else 1
        found = sorted(
            ((sign * float(one.order_value or 0), str(one.id), one) for one in records), key=lambda one: one[:2]
        )
        if len(found) < asked:
            return [one.payload or {} for _, _, one in found], self._after("ordered")
        last = found[-1]
        return (
            [one.payload or {} for key, _, one in found if key < last[0]],
            Place("ordered", _number(last[2].order_value), _LOWEST_ID),
        )

    async def _by_id(
        self, condition: models.Filter | None, limit: int, point: str | None
    ) -> tuple[list[Payload], str | None]:
        records, following = await self.store.scroll(
            self.collection, condition=condition, limit=min(limit, _MAX_ASKED), offset=point
        )
        return [record.payload or {} for record in records], following

    def _after(self, part: Part) -> Place | None:
        following = self.order.parts[self.order.parts.index(part) + 1 :]
        return Place(following[0]) if following else None

    def _further(self, value: float | None) -> tuple[models.Condition, ...]:
        if value is None or self.order.field is None:
            return ()
        span = models.Range(lt=value) if self.order.descending else models.Range(gt=value)
        return (models.FieldCondition(key=self.order.field, range=span),)

    def _having(self, value: float | None) -> models.Filter | None:
        assert self.order.field is not None
        span = models.Range(gte=value, lte=value)
        return self._filter(models.FieldCondition(key=self.order.field, range=span))

    def _lacking(self) -> models.Filter | None:
        if self.order.field is None:
            return self._filter()
        # Not an "is empty" condition: the field may hold text, which has no place among numbers.
        number = models.FieldCondition(key=self.order.field, range=models.Range(gte=-sys.float_info.max))
        without = models.Filter(must_not=[number])
        return self._filter(without)

    def _filter(self, *conditions: models.Condition) -> models.Filter | None:
        own = self.spec.compile()
        if not conditions:
            return own
        return models.Filter(must=[*conditions, *([own] if own is not None else [])])


def sortable_fields(schema: Mapping[str, FieldType]) -> list[str]:
    """The fields that products can be sorted by."""
    return sorted(name for name, kind in schema.items() if kind != "keyword" and name not in HIDDEN_FIELDS)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else float("nan")
