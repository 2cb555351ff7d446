"""Buckets of numbers and dates, with round edges: `0 to 50`, `50 to 100`; months, years or decades.

A bucket has the values that its `min` and `max` find as a filter. Decimal buckets share their edges: a value on an edge
counts in the upper one of the two, or in the last.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vitrine.kinds import DateSpan

# Integers with at most this many values are counted by value.
FEW_VALUES: Final = 24
_WANTED_BUCKETS: Final = 10
_MOST_MONTHS: Final = 24
_MOST_YEARS: Final = 30
_ROUND: Final = (1, 2, 2.5, 5, 10)
_ROUND_WHOLE: Final = (1, 2, 5, 10)
_SIGNIFICANT: Final = 12
# A value with the product that it belongs to.
Owned = tuple[Hashable, Any]
_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The values from `min`, and before `end`, or up to and with `end` if it is `closed`. `max` is what is shown."""

    min: float | str
    max: float | str
    start: float | datetime
    end: float | datetime
    closed: bool = False

    def counted(self, count: int) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "count": count}


def number_buckets(least: float, greatest: float, *, whole: bool) -> list[Bucket]:
    """About ten buckets that have all numbers from `least` to `greatest`."""
    step = _step((greatest - least) / _WANTED_BUCKETS, whole=whole)
    first, last = math.floor(least / step), math.floor(greatest / step)
    if whole:
        size = int(step)
        return [
            Bucket(place * size, (place + 1) * size - 1, place * size, (place + 1) * size)
            for place in range(first, last + 1)
        ]
    if last > first and _edge(last, step) == greatest:
        last -= 1  # the greatest value closes the bucket before it
    return [
        Bucket(low := _edge(place, step), high := _edge(place + 1, step), low, high, closed=place == last)
        for place in range(first, last + 1)
    ]


def date_buckets(least: datetime, greatest: datetime) -> list[Bucket]:
    """Months, or years, decades or centuries if there would be too many."""
    months = (greatest.year - least.year) * 12 + greatest.month - least.month + 1
    if months <= _MOST_MONTHS:
        first = least.year * 12 + least.month - 1
        return [_dates(divmod(month, 12), divmod(month + 1, 12)) for month in range(first, first + months)]
    years = next(step for step in (1, 10, 100, 1000, 10_000) if greatest.year - least.year < _MOST_YEARS * step)
    return [
        _dates((year, 0), (year + years, 0)) for year in range(least.year // years * years, greatest.year + 1, years)
    ]


def owned(values: Sequence[Any], owners: Sequence[Hashable] | None = None) -> list[Owned]:
    """The values with their products; without `owners` each is of another product."""
    return list(zip(range(len(values)) if owners is None else owners, values, strict=True))


def count_numbers(
    values: Sequence[float], *, whole: bool, owners: Sequence[Hashable] | None = None
) -> list[dict[str, Any]]:
    """The buckets of these numbers with their counts, without empty ones at the ends."""
    if not values:
        return []
    return _count(number_buckets(min(values), max(values), whole=whole), owned(values, owners))


def count_dates(values: Sequence[Any], owners: Sequence[Hashable] | None = None) -> list[dict[str, Any]]:
    """The buckets of dates, given as text, with their counts."""
    spans = [(owner, DateSpan.parse(value)) for owner, value in owned(values, owners) if isinstance(value, str)]
    dated = [(owner, span.start.astimezone(UTC)) for owner, span in spans if span is not None]
    moments = [moment for _, moment in dated]
    return _count(date_buckets(min(moments), max(moments)), dated) if moments else []


def _count(buckets: Sequence[Bucket], values: Sequence[Owned]) -> list[dict[str, Any]]:
    """A product counts once in each bucket."""
    starts: list[Any] = [bucket.start for bucket in buckets]
    places = {(owner, max(0, bisect_right(starts, value) - 1)) for owner, value in values}
    counts = [0] * len(buckets)
    for _, place in places:
        counts[place] += 1
    return [bucket.counted(count) for bucket, count in zip(buckets, counts, strict=True)]


def _step(wanted: float, *, whole: bool) -> float:
    """The next round number that is not smaller."""
    if whole and wanted <= 1:
        return 1
    if wanted <= 0:
        return 1
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(one * power for one in (_ROUND_WHOLE if whole else _ROUND) if one * power >= wanted * (1 - 1e-9))


def _edge(place: int, step: float) -> float:
    """An edge without the noise of binary fractions: 0.3, not 0.30000000000000004."""
    return float(f"{place * step:.{_SIGNIFICANT}g}")


def _dates(first: tuple[int, int], after: tuple[int, int]) -> Bucket:
    """From the first day of a (year, month from 0) up to the day before another one."""
    start = datetime(max(1, first[0]), first[1] + 1, 1, tzinfo=UTC)
    if after[0] > _LAST.year:
        return Bucket(start.date().isoformat(), _LAST.date().isoformat(), start, _LAST, closed=True)
    end = datetime(after[0], after[1] + 1, 1, tzinfo=UTC)
    return Bucket(start.date().isoformat(), (end - timedelta(days=1)).date().isoformat(), start, end)
