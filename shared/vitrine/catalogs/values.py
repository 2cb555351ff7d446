"""From the text of a CSV field to an attribute's value. An unknown value is None, never an empty string."""

from __future__ import annotations

import math
import re
from typing import Final

# What the catalogues write where they know nothing.
_UNKNOWN: Final = frozenset({"", "NA", "N/A", "NULL", "null", "None", "nan", "NaN"})
# A leading zero is part of a code (a size, an article number), not of a quantity; 18 digits always fit 64 bits.
_WHOLE: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_YEAR: Final = re.compile(r"([12][0-9]{3})(?:\.0+)?")


def known(text: str) -> str | None:
    """The text without blanks around it, or None where it stands for nothing."""
    text = text.strip()
    return None if text in _UNKNOWN else text


def year(text: str) -> int | None:
    """A year from 1000 to 2999, also where a spreadsheet made it 2014.0; None where it is none."""
    match = _YEAR.fullmatch(text)
    return int(match[1]) if match else None


def whole_number(text: str) -> int | None:
    """An integer of at most 18 digits without leading zeros, or None."""
    return int(text) if _WHOLE.fullmatch(text) else None


def number(text: str) -> float | None:
    """A finite decimal number without leading zeros, or None."""
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
