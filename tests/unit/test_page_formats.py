"""Number, size, time and confidence formats of the pages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from search_api.pages.formats import (
    confidence,
    confidence_word,
    date,
    duration,
    iso_time,
    number,
    percent,
    plural,
    relative_time,
    size,
)

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


def test_numbers_have_separators() -> None:
    assert [number(1204), number(0.12345, 3), plural(1, "product"), plural(44_441, "product")] == [
        "1,204", "0.123", "1 product", "44,441 products",
    ]  # fmt: skip
    assert plural(2, "match", "matches") == "2 matches"


@pytest.mark.parametrize(
    ("fraction", "shown"), [(0.83, "83 %"), (1, "100 %"), (0, "0 %"), (0.9999, "99 %"), (0.0001, "1 %")]
)
def test_a_confidence_below_1_is_never_shown_as_certain(fraction: float, shown: str) -> None:
    assert plain(percent(fraction)) == shown


@pytest.mark.parametrize(
    ("count_bytes", "shown"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (999_600, "1.0 MB"), (31_457_280, "31 MB"),
        (5e15, "5000 TB"),
    ],
)  # fmt: skip
def test_sizes_have_the_unit_that_keeps_them_short(count_bytes: float, shown: str) -> None:
    assert plain(size(count_bytes)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 ms"), (0.0123, "12 ms"), (3, "3 s"), (3.21, "3.2 s"), (42, "42 s"), (59.7, "about 1 min"),
        (110, "about 2 min"),
        (3_599, "about 1 h"), (5_400, "about 1 h 30 min"), (86_400, "about 1 day"), (200_000, "about 2 days"),
    ],
)  # fmt: skip
def test_durations_are_as_exact_as_is_useful(seconds: float, shown: str) -> None:
    assert plain(duration(seconds)) == shown


@pytest.mark.parametrize(
    ("past_s", "shown"),
    [
        (-1, "just now"), (-7_200, "in 2 h"), (3, "just now"), (42, "42 s ago"), (200, "3 min ago"), (7_300, "2 h ago"),
        (90_000, "yesterday"), (300_000, "3 days ago"), (40 * 86_400, "21 October 2026"),
    ],
)  # fmt: skip
def test_times_are_shown_relative_to_now(past_s: float, shown: str) -> None:
    assert plain(relative_time(NOW.timestamp() - past_s, now_s=NOW.timestamp())) == shown


def test_a_time_may_be_seconds_a_text_or_a_datetime() -> None:
    moments = (
        NOW,
        NOW.timestamp(),
        "2026-11-30T12:00:00+00:00",
        "2026-11-30T13:00:00+01:00",
        datetime(2026, 11, 30, 12),
    )
    assert {iso_time(moment) for moment in moments} == {"2026-11-30T12:00:00+00:00"}
    assert {date(moment) for moment in moments} == {"30 November 2026"}


def test_confidence_is_shown_in_words() -> None:
    assert [(confidence(p), confidence_word(p)) for p in (0.8, 0.5, 0.49)] == [
        ("very likely the same kind", "high"), ("likely", "medium"), ("maybe", "low"),
    ]  # fmt: skip
