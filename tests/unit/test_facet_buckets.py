"""Buckets of numbers and dates: round edges, and every value in exactly one of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from search_api.search.buckets import count_dates, count_numbers, date_buckets, number_buckets
from search_api.search.facets import count_values
from vitrine.kinds import is_right_below
from vitrine.products import AttributeKind


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("scale", [0.01, 1, 7, 1_000, 1e9])
def test_every_number_is_in_exactly_one_bucket(scale: float, whole: bool) -> None:
    chance = random.Random(f"{scale} {whole}")
    values = [chance.gauss(10, 30) * scale for _ in range(500)]
    values = [float(round(value)) if whole else round(value, 2) for value in values]
    buckets = number_buckets(min(values), max(values), whole=whole)
    assert 1 <= len(buckets) <= 13
    counts = count_numbers(values, whole=whole)
    assert sum(one["count"] for one in counts) == len(values)
    for value in values:
        inside = [one for one in buckets if one.start <= value < one.end or (one.closed and value == one.end)]  # type: ignore[operator]
        assert len(inside) == 1, value


def test_edges_are_round() -> None:
    assert [(one.min, one.max) for one in number_buckets(1, 500, whole=True)][:3] == [(0, 49), (50, 99), (100, 149)]
    assert [one.max for one in number_buckets(19.9, 1299, whole=False)] == [200, 400, 600, 800, 1000, 1200, 1400]
    assert [one.min for one in number_buckets(0, 1, whole=False)][:4] == [0, 0.1, 0.2, 0.3]
    assert len(number_buckets(5, 5, whole=False)) == len(number_buckets(5, 5, whole=True)) == 1


def test_dates_are_counted_by_month_or_by_year() -> None:
    assert count_dates(["2024-01-15", "2024-03-31T23:59:59+00:00", "2024-03-01", "soon"]) == [
        {"min": "2024-01-01", "max": "2024-01-31", "count": 1},
        {"min": "2024-02-01", "max": "2024-02-29", "count": 0},
        {"min": "2024-03-01", "max": "2024-03-31", "count": 2},
    ]
    years = date_buckets(datetime(2010, 5, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
    assert [(one.min, one.max) for one in years[:1]] == [("2010-01-01", "2010-12-31")]
    assert len(years) == 15
    for_ever = date_buckets(datetime(2024, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
    assert for_ever[-1].max == "9999-12-31"
    assert len(for_ever) < 30
    assert count_dates([]) == []


def test_only_children_are_right_below_a_level() -> None:
    paths = [
        "Clothing",
        "Clothing > Dresses",
        "Clothing > Dresses > Midi",
        "Clothing & Bags",
        "Clothing & Bags > Bags",
    ]
    assert [path for path in paths if is_right_below(path, "Clothing")] == ["Clothing > Dresses"]
    assert [path for path in paths if is_right_below(path, "Clothing > Dresses")] == ["Clothing > Dresses > Midi"]
    assert [path for path in paths if is_right_below(path, "")] == ["Clothing", "Clothing & Bags"]
    assert not any(is_right_below(path, "Dresses") for path in paths)


def test_lists_count_each_value_once_and_paths_each_level() -> None:
    assert count_values([["Red", "Blue", "Red"], "Red"], AttributeKind.KEYWORDS) == [
        {"value": "Red", "count": 2}, {"value": "Blue", "count": 1},
    ]  # fmt: skip
    assert count_values(["A > B", "A > C", ["A", "D"]], AttributeKind.PATH) == [
        {"value": "A", "count": 3}, {"value": "A > B", "count": 1}, {"value": "A > C", "count": 1},
        {"value": "D", "count": 1},
    ]  # fmt: skip


def test_few_integers_are_counted_by_value_and_many_in_buckets() -> None:
    assert count_values([36, 37, 36, "misfit"], AttributeKind.INTEGER) == [
        {"value": 36, "count": 2}, {"value": 37, "count": 1},
    ]  # fmt: skip
    assert count_values(list(range(100)), AttributeKind.INTEGER)[0] == {"min": 0, "max": 9, "count": 10}
