"""How pages write numbers, sizes, times and confidences: the filters of the templates."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

NARROW_SPACE: Final = "\u202f"  # no line breaks there, and narrower than a space
_VERY_LIKELY: Final = 0.8
_LIKELY: Final = 0.5
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_MONTH_S: Final = 30 * _DAY_S


def number(value: float, digits: int = 0) -> str:
    """1204 as `1,204`; `digits` after the point."""
    return f"{value:,.{digits}f}"


def percent(fraction: float, digits: int = 0) -> str:
    """0.83 as `83 %`. What is not quite all or nothing is never written as 100 % or 0 %."""
    shown = fraction * 100
    least = 10.0**-digits
    if 0 < fraction < 1:
        shown = min(max(shown, least), 100 - least)
    return f"{shown:.{digits}f}{NARROW_SPACE}%"


def size(count_bytes: float) -> str:
    """31457280 as `31 MB`, in units of a thousand; one digit after the point below ten."""
    amount = float(count_bytes)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            break
        amount /= 1000
    digits = 1 if unit != "bytes" and amount < 9.95 else 0
    return f"{amount:.{digits}f}{NARROW_SPACE}{unit}"


def duration(seconds: float) -> str:
    """110 as `about 2 min`; below a minute to the second, below ten seconds to the tenth."""
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
    """A moment as `3 min ago`; seconds since 1970, a datetime or an ISO text. What is far back is a date."""
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
    """A moment's day, as `30 November 2026`, in UTC."""
    at = datetime.fromtimestamp(_seconds(moment), UTC)
    return f"{at.day} {at:%B %Y}"


def iso_time(moment: datetime | float | str) -> str:
    """A moment for the attribute of a <time> element."""
    return datetime.fromtimestamp(_seconds(moment), UTC).isoformat(timespec="seconds")


def confidence(probability: float) -> str:
    """How likely a result is of the same kind, in words."""
    if probability >= _VERY_LIKELY:
        return "very likely the same kind"
    return "likely" if probability >= _LIKELY else "maybe"


def confidence_word(probability: float) -> str:
    """The same as one word, for class names and filters: `high`, `medium` or `low`."""
    if probability >= _VERY_LIKELY:
        return "high"
    return "medium" if probability >= _LIKELY else "low"


def plural(count: float, one: str, many: str | None = None) -> str:
    """1 as `1 product`, 1204 as `1,204 products`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def curve_titles(names: Iterable[str]) -> tuple[str, ...]:
    """What series of these names are drawn as: those that share the words before the comma share a drawing."""
    return tuple(dict.fromkeys(name.partition(", ")[0] for name in names))


def json_text(value: Any) -> str:
    """A value as JSON in its own order, for a script to read from an attribute."""
    return json.dumps(value, ensure_ascii=False)


def pretty_json(value: Any) -> str:
    """A value as indented JSON, for a reader."""
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
