"""Read dates as catalogues write them, and find out whether the day or the month comes first.

`01/02/2024` is 1 February in one country and 2 January in another. So `date_orders` returns every possible order, and
the orders that all texts of a column share decide it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from dateutil import parser as dateutil_parser

_MAX_CHARS: Final = 60
_TIME: Final = (
    r"(?:[T ,]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp][Mm]))?\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?(?:[0-9]{2})?)?)?"
)
_YEAR_FIRST: Final = re.compile(
    rf"(?P<year>[12][0-9]{{3}})([-/.])(?P<month>[0-9]{{1,2}})\2(?P<day>[0-9]{{1,2}}){_TIME}"
)
_YEAR_LAST: Final = re.compile(
    rf"(?P<one>[0-9]{{1,2}})(?P<sign>[-/.])(?P<other>[0-9]{{1,2}})(?P=sign)(?P<year>[12][0-9]{{3}}){_TIME}"
)
# 1/20/24, 3:52 PM: without a time it may as well be sizes.
_SHORT_YEAR: Final = re.compile(r"([0-9]{1,2}([-/.])[0-9]{1,2}\2)([0-9]{2})(?=[T ,]+[0-9]{1,2}:[0-9]{2})")
# English months alone: 15 Jan 2024, January 15th, 2024, Mon, 15 Jan 2024 10:00
_WITH_WORD: Final = re.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
    r"(?:[0-9]{1,2}(?:st|nd|rd|th)?[\s-]+(?:{months})[a-z]*\.?,?[\s-]+[12][0-9]{3}"
    r"|(?:{months})[a-z]*\.?\s+[0-9]{1,2}(?:st|nd|rd|th)?,?\s+[12][0-9]{3})".replace(
        "{months}", "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
    )
    + _TIME,
    re.IGNORECASE,
)


class DateOrders:
    """Bits: the possible orders of day and month in a text. A text that is a date in itself has both."""

    DAY_FIRST: Final = 1
    MONTH_FIRST: Final = 2
    BOTH: Final = 3
    DIFFERENT: Final = 4  # not an order: the two orders mean different days


def date_orders(text: str) -> int:
    """The orders in which a text is a date. Zero if it is none: sizes, years and ranges of numbers are not dates."""
    if not text[:1].isalnum():
        return 0
    day_first, month_first = read_date(text, DateOrders.DAY_FIRST), read_date(text, DateOrders.MONTH_FIRST)
    if day_first is not None and month_first is not None:
        return DateOrders.BOTH if day_first == month_first else DateOrders.BOTH | DateOrders.DIFFERENT
    if day_first is not None:
        return DateOrders.DAY_FIRST
    return DateOrders.MONTH_FIRST if month_first is not None else 0


def read_date(text: str, order: int) -> str | None:
    """The date as ISO 8601 text, with its time and zone where it has them; None if it is not a date.

    `order` decides dates such as 01/02/2024; a date with points, 01.02.2024, always has the day first.
    """
    if not 8 <= len(text) <= _MAX_CHARS or not text[-1].isalnum():
        return None
    match = _YEAR_FIRST.fullmatch(text)
    if match is not None:
        return _iso(match, int(match["month"]), int(match["day"]))
    match = _YEAR_LAST.fullmatch(_SHORT_YEAR.sub(r"\g<1>20\3", text, count=1) if text[0].isdigit() else text)
    if match is not None:
        first, second = int(match["one"]), int(match["other"])
        is_day_first = match["sign"] == "." or order == DateOrders.DAY_FIRST
        return _iso(match, second, first) if is_day_first else _iso(match, first, second)
    match = _WITH_WORD.fullmatch(text)
    return _read_words(text, has_time=match["hour"] is not None) if match is not None else None


def _iso(match: re.Match[str], month: int, day: int) -> str | None:
    try:
        date = datetime(int(match["year"]), month, day)
        if match["hour"] is None:
            return date.date().isoformat()
        return _with_time(date, match).isoformat()
    except ValueError:
        return None


def _with_time(date: datetime, match: re.Match[str]) -> datetime:
    hour = int(match["hour"])
    half = (match["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of half a day")
        hour = hour % 12 + (12 if half == "pm" else 0)
    fraction = (match["fraction"] or "").ljust(6, "0")[:6]
    found = date.replace(
        hour=hour, minute=int(match["minute"]), second=int(match["second"] or 0), microsecond=int(fraction)
    )
    zone = match["zone"]
    if not zone:
        return found
    zone = "+00:00" if zone in ("Z", "UTC", "GMT") else zone if len(zone) > 3 else f"{zone}:00"
    return datetime.fromisoformat(f"{found.isoformat()}{zone}")


def _read_words(text: str, *, has_time: bool) -> str | None:
    try:
        found: datetime = dateutil_parser.parse(text)
    except (ValueError, OverflowError):
        return None
    return found.isoformat() if has_time else found.date().isoformat()
