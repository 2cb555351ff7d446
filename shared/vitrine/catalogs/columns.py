"""Turn the columns of a CSV into attributes: valid attribute names, and one type for each column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Final

from vitrine.products import STANDARD_ATTRIBUTES, AttributeValue, is_range_of, is_reserved, why_renamed

_MAX_NAME_CHARS: Final = 60  # 64 are allowed; the rest is for a suffix that makes the name unique
_SYNONYMS: Final = {"productdisplayname": "name"}
_STANDARD: Final = {name.lower(): name for name in STANDARD_ATTRIBUTES} | _SYNONYMS

Reader = Callable[[str], AttributeValue | None]


def attribute_names(columns: Iterable[str]) -> dict[str, str]:
    """A unique attribute name for each column, none of them reserved.

    The case of standard attributes is corrected, so that `Gender` can be filtered as `gender`. A column with the name
    of another column's range filter, such as `priceMin` next to `price`, is renamed too.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    columns = tuple(dict.fromkeys(columns))
    plain = {column: _plain_name(column) for column in columns}
    wanted_names = {
        column: f"{name}_" if is_reserved(name) or is_range_of(name, plain.values()) else name
        for column, name in plain.items()
    }
    # Columns whose name needs no change come first, so that they keep it.
    for column in sorted(columns, key=lambda column: wanted_names[column] != column):
        name = wanted = wanted_names[column]
        number = 2
        while name in taken:
            name = f"{wanted}_{number}"
            number += 1
        taken.add(name)
        names[column] = name
    return {column: names[column] for column in columns}


def column_reader(attribute: str, texts: Iterable[str]) -> Reader:
    """The parser of a column, chosen by all its values: integers, numbers, or text.

    `year` is always an integer; the other standard attributes are always text.
    """
    if attribute == "year":
        return year
    if attribute in STANDARD_ATTRIBUTES:
        return str
    readers: list[Reader] = [whole_number, number]
    seen = False
    for text in texts:
        seen = True
        while readers and readers[0](text) is None:
            readers.pop(0)
        if not readers:
            break
    return readers[0] if readers and seen else str


def renaming(column: str, attribute: str) -> str:
    """The detail of a `renamed_column` issue."""
    plain = _plain_name(column)
    reason = f" ({why_renamed(plain)})" if attribute != plain and attribute.startswith(f"{plain}_") else ""
    return f"{column[:80]} -> {attribute}{reason}"


def _plain_name(column: str) -> str:
    """The column's name, with the characters replaced that an attribute name cannot have."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_")
    if "_" in column and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", column):
        name = column  # valid as it is, such as `size__eu`
    name = _STANDARD.get(name.lower(), name)
    if not name:
        name = "column"
    elif not name[0].isalpha():
        name = f"c_{name}"
    return name[:_MAX_NAME_CHARS]


# Catalogues write these for an unknown value.
_UNKNOWN: Final = frozenset({"", "NA", "N/A", "NULL", "null", "None", "nan", "NaN"})
# A leading zero is part of a code (a size, an article number), not of a quantity; 18 digits always fit 64 bits.
_WHOLE: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_YEAR: Final = re.compile(r"([12][0-9]{3})(?:\.0+)?")


def known(text: str) -> str | None:
    """The text stripped of whitespace, or None if it means an unknown value."""
    text = text.strip()
    return None if text in _UNKNOWN else text


def year(text: str) -> int | None:
    """A year from 1000 to 2999, also if a spreadsheet wrote it as 2014.0; None for anything else."""
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
