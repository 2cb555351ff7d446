"""Template filters that format numbers, sizes, times and confidences."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

NARROW_SPACE: Final = "\u202f"  # a narrow, non-breaking space
_VERY_LIKELY: Final = 0.8
_LIKELY: Final = 0.5
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_MONTH_S: Final = 30 * _DAY_S


def number(value: float, digits: int = 0) -> str:
    """1204 as `1,204`, with `digits` decimals."""
    return f"{value:,.{digits}f}"


def percent(fraction: float, digits: int = 0) -> str:
    """0.83 as `83 %`. Only exactly 1 and 0 are written as 100 % and 0 %."""
    shown = fraction * 100
    least = 10.0**-digits
    if 0 < fraction < 1:
        shown = min(max(shown, least), 100 - least)
    return f"{shown:.{digits}f}{NARROW_SPACE}%"


def size(count_bytes: float) -> str:
    """31457280 as `31 MB`, in decimal units; one decimal below ten."""
    amount = float(count_bytes)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            break
        amount /= 1000
    digits = 1 if unit != "bytes" and amount < 9.95 else 0
    return f"{amount:.{digits}f}{NARROW_SPACE}{unit}"


def duration(seconds: float) -> str:
    """110 as `about 2 min`; whole seconds below a minute, tenths below ten seconds."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}{NARROW_SPACE}ms"
    if seconds < 9.95:
        return f"{round(seconds, 1):g}{NARROW_SPACE}s"
    if seconds < _MINUTE_S - 0.5:
        return f"{seconds:.0f}{NARROW_SPACE}s"
    minutes = round(seconds / _MINUTE_S)
    if minutes < 60:
        return f"about {minutes}{NARROW_SPACE}min"
    hours, rest = divmod(minutes, 60)
    if hours < 24:
        return f"about {hours}{NARROW_SPACE}h" + (f" {rest}{NARROW_SPACE}min" if rest else "")
    days = round(seconds / _DAY_S)
    return f"about {days} day{'s' if days != 1 else ''}"


def relative_time(moment: datetime | float | str, now_s: float | None = None) -> str:
    """A time as `3 min ago`, or as a date if long ago. Takes seconds since 1970, a datetime or an ISO text."""
    at_s = _seconds(moment)
    past_s = (time.time() if now_s is None else now_s) - at_s
    if past_s < 0:
        return "just now" if past_s > -_MINUTE_S else f"in {duration(-past_s).removeprefix('about ')}"
    if past_s < 10:
        return "just now"
    if past_s < _MINUTE_S:
        return f"{past_s:.0f}{NARROW_SPACE}s ago"
    if past_s < _HOUR_S:
        return f"{past_s // _MINUTE_S:.0f}{NARROW_SPACE}min ago"
    if past_s < _DAY_S:
        return f"{past_s // _HOUR_S:.0f}{NARROW_SPACE}h ago"
    if past_s < _MONTH_S:
        days = int(past_s // _DAY_S)
        return "yesterday" if days == 1 else f"{days} days ago"
    return date(at_s)


def date(moment: datetime | float | str) -> str:
    """The date in UTC, as `30 November 2026`."""
    at = datetime.fromtimestamp(_seconds(moment), UTC)
    return f"{at.day} {at:%B %Y}"


def iso_time(moment: datetime | float | str) -> str:
    """The value of a <time> element's `datetime`."""
    return datetime.fromtimestamp(_seconds(moment), UTC).isoformat(timespec="seconds")


def confidence(probability: float) -> str:
    """A confidence in words."""
    if probability >= _VERY_LIKELY:
        return "very likely the same kind"
    return "likely" if probability >= _LIKELY else "maybe"


def confidence_word(probability: float) -> str:
    """A confidence as `high`, `medium` or `low`."""
    if probability >= _VERY_LIKELY:
        return "high"
    return "medium" if probability >= _LIKELY else "low"


def plural(count: float, one: str, many: str | None = None) -> str:
    """1 as `1 product`, 1204 as `1,204 products`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def curve_titles(names: Iterable[str]) -> tuple[str, ...]:
    """The titles of the charts for these series. Series with the same words before the comma share a chart."""
    return tuple(dict.fromkeys(name.partition(", ")[0] for name in names))


def json_text(value: Any) -> str:
    """A value as compact JSON, for an attribute that a script reads."""
    return json.dumps(value, ensure_ascii=False)


def pretty_json(value: Any) -> str:
    """A value as indented JSON, for display."""
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _seconds(moment: datetime | float | str) -> float:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "number": number,
    "percent": percent,
    "size": size,
    "duration": duration,
    "relative_time": relative_time,
    "date": date,
    "iso_time": iso_time,
    "confidence": confidence,
    "confidence_word": confidence_word,
    "plural": plural,
    "curve_titles": curve_titles,
    "json_text": json_text,
    "pretty_json": pretty_json,
}
