"""Turn records of nested values, as in JSON, into a table: one column for each member that is not an object.

Members of objects become columns named `price.amount`. A list of plain values stays a list, as JSON text; a list of
objects becomes a list for each of their members (`images.src`). A column that is a list in one record is a list in all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from vitrine.catalogs.table_files import Row
from vitrine.errors import CatalogMalformed

MAX_COLUMNS: Final = 2_000
_MAX_DEPTH: Final = 5


class Record(NamedTuple):
    """The members of one product; None if it cannot be read. `line` is where it begins."""

    line: int
    members: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RecordTable:
    """Records as rows. They are read anew in each pass."""

    header: tuple[str, ...]
    _lists: frozenset[str]
    _records: Callable[[], Iterator[Record]]

    def rows(self) -> Iterator[Row]:
        names, lists = self.header, self._lists
        for line, members in self._records():
            if members is None:
                yield Row(line, None)
                continue
            flat = flattened(members)
            for name in lists:
                if name in flat and not isinstance(flat[name], list):
                    flat[name] = [] if flat[name] is None else [flat[name]]
            yield Row(line, [as_text(flat.get(name)) for name in names])


def record_table(path: Path, records: Callable[[], Iterator[Record]]) -> RecordTable:
    """Read all records once to find their columns. Raises CatalogMalformed if there are none, or too many columns."""
    names: dict[str, None] = {}
    lists: set[str] = set()
    seen: set[tuple[str, ...]] = set()
    for _, members in records():
        if members is None:
            continue
        flat = flattened(members)
        keys = tuple(flat)
        if keys not in seen:
            seen.add(keys) if len(seen) < MAX_COLUMNS else None
            names.update(dict.fromkeys(keys))
            if len(names) > MAX_COLUMNS:
                raise CatalogMalformed(
                    f"{path} has products with more than {MAX_COLUMNS:,} different members; "
                    "leave out those that are no attributes"
                )
        for name, value in flat.items():
            if isinstance(value, list):
                lists.add(name)
    if not names:
        raise CatalogMalformed(f"{path} has no products; each product is an object with its id, picture and attributes")
    return RecordTable(tuple(names), frozenset(lists), records)


def flattened(members: dict[str, Any]) -> dict[str, Any]:
    """The members with those of inner objects beside them. Values are plain or lists."""
    for value in members.values():
        if isinstance(value, dict | list):
            break
    else:
        return dict(members)
    flat: dict[str, Any] = {}
    for name, value in members.items():
        _flatten(name, value, flat, 1)
    return flat


def as_text(value: Any) -> str:
    """The text of a field: JSON for all but texts, and nothing for null and for an empty list."""
    if isinstance(value, str):
        return value
    if value is None or value == []:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _flatten(name: str, value: Any, flat: dict[str, Any], depth: int) -> None:
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for inner, inner_value in value.items():
            _flatten(f"{name}.{inner}", inner_value, flat, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value) and depth < _MAX_DEPTH:
        inners: dict[str, list[Any]] = {}
        for one in value:
            inner_flat: dict[str, Any] = {}
            _flatten(name, one, inner_flat, depth)
            for inner, inner_value in inner_flat.items():
                values = inner_value if isinstance(inner_value, list) else [inner_value]
                inners.setdefault(inner, []).extend(one for one in values if one is not None)
        flat.update(inners)
    else:
        flat[name] = value
