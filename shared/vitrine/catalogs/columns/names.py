"""Valid and unique attribute names for the columns of a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from vitrine.products import STANDARD_ATTRIBUTES, is_range_of, is_reserved, why_renamed

_MAX_NAME_CHARS: Final = 60  # 64 are allowed; the rest is for a suffix that makes the name unique
_SYNONYMS: Final = {"productdisplayname": "name"}
_STANDARD: Final = {name.lower(): name for name in STANDARD_ATTRIBUTES} | _SYNONYMS


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


def renaming(column: str, attribute: str) -> str:
    """The detail of a `renamed_column` issue."""
    plain = _plain_name(column)
    reason = f" ({why_renamed(plain)})" if attribute != plain and attribute.startswith(f"{plain}_") else ""
    return f"{column[:80]} -> {attribute}{reason}"


def _plain_name(column: str) -> str:
    """The column's name, with the characters replaced that an attribute name cannot have.

    Letters and digits of all scripts stay, as composed characters.
    """
    column = unicodedata.normalize("NFC", column)
    name = re.sub(r"[\W_]+", "_", column).strip("_")
    if "_" in column and re.fullmatch(r"[^\W\d_]\w*", column):
        name = column  # valid as it is, such as `size__eu`
    name = _STANDARD.get(name.lower(), name)
    if not name:
        name = "column"
    elif not name[0].isalpha():
        name = f"c_{name}"
    return name[:_MAX_NAME_CHARS]
