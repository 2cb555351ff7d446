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
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from qdrant_client import models

from search_api.vector_store import VectorStore
from vitrine.errors import ParameterInvalid
from vitrine.products import ADDED_AT_FIELD, AttributeKind
from vitrine.qdrant.filters import RANGED, FilterSpec
from vitrine.qdrant.schema import CollectionInfo, json_path

Payload = dict[str, Any]
Part = Literal["ordered", "rest"]
_MAX_ASKED: Final = 1_000  # the limit of a collection's strict mode
_EXPORT_PAGE: Final = 250
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_US: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(microseconds=1)
_LOWEST_ID: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Order:
    """The sort field, and which part comes first. Without a field all products are sorted by point id.

    Dates are sorted as microseconds since 1970, as Qdrant does.
    """

    field: str | None = None
    descending: bool = False
    parts: tuple[Part, ...] = ("rest",)
    of_dates: bool = False

    @classmethod
    def of(cls, sort: str | None, info: CollectionInfo) -> Order:
        """Parse `newest`, `oldest`, or a field of numbers or dates with an optional `-`. Raises ParameterInvalid."""
        if sort is None:
            return cls()
        if sort in ("newest", "oldest"):
            if ADDED_AT_FIELD not in info.schema:
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
        kinds = info.kinds
        offered = sortable_fields(kinds)
        if field not in offered:
            raise ParameterInvalid(
                f"sort {sort[:80]!r} is not possible: use newest, oldest, or a field of numbers or dates, with '-' "
                f"before it for the largest first; these fields are: {', '.join(offered) or 'none'}"
            )
        return cls(
            field,
            descending=sort.startswith("-"),
            parts=("ordered", "rest"),
            of_dates=kinds[field] is AttributeKind.DATE,
        )

    def between(self, **ends: float) -> models.FieldCondition:
        """The condition that the value is within these ends (`gt`, `gte`, `lt`, `lte`)."""
        assert self.field is not None
        span: models.RangeInterface
        if self.of_dates:
            span = models.DatetimeRange.model_validate({end: moment_of(value) for end, value in ends.items()})
        else:
            span = models.Range(**ends)
        return models.FieldCondition(key=json_path(self.field), range=span)


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
            order_by=models.OrderBy(key=json_path(self.order.field), direction=direction),
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
        return (self.order.between(lt=value) if self.order.descending else self.order.between(gt=value),)

    def _having(self, value: float | None) -> models.Filter | None:
        assert value is not None
        return self._filter(self.order.between(gte=value, lte=value))

    def _lacking(self) -> models.Filter | None:
        if self.order.field is None:
            return self._filter()
        # Not an "is empty" condition: the field may hold text, which has no place among numbers.
        least = _EARLIEST_US if self.order.of_dates else -sys.float_info.max
        return self._filter(models.Filter(must_not=[self.order.between(gte=least)]))

    def _filter(self, *conditions: models.Condition) -> models.Filter | None:
        own = self.spec.compile()
        if not conditions:
            return own
        return models.Filter(must=[*conditions, *([own] if own is not None else [])])


def sortable_fields(kinds: Mapping[str, AttributeKind]) -> list[str]:
    """The fields that products can be sorted by."""
    return sorted(name for name, kind in kinds.items() if kind in RANGED)


def moment_of(microseconds: float) -> datetime:
    """A date as Qdrant sorts it, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else float("nan")
