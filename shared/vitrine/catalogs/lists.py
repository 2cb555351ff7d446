"""A benchmark's list: a line with the number of its rows, perhaps a line that names the columns, then the rows.

Columns are separated by runs of blanks. Lists are long, so they are read line by line and never held whole. A path
comes first in its row and may itself hold blanks, so a row is split from its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitrine.catalogs.harvest import Harvest
from vitrine.catalogs.table import Row, check_file, decoded, open_checked
from vitrine.errors import CatalogMalformed, CatalogNotFound

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MAX_LINE_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ListFile:
    """One list. `stated` is the number of rows it claims, None where its first line is no number."""

    path: Path
    columns: tuple[str, ...]
    stated: int | None
    _head_lines: int

    def rows(self) -> Iterator[Row]:
        """The rows with at most as many fields as there are columns; None for a line far too long.

        Blank lines are passed over.
        """
        splits = len(self.columns) - 1
        for number, data in _lines(self.path):
            if number <= self._head_lines:
                continue
            if len(data) > _MAX_LINE_BYTES:
                yield Row(number, None, True)
                continue
            line, is_utf8 = decoded(data)
            if fields := line.strip().rsplit(None, splits):
                yield Row(number, fields, is_utf8)

    def tell_count(self, rows: int, harvest: Harvest) -> None:
        """Report where the list claims another number of rows than the `rows` it has."""
        if self.stated != rows:
            claimed = "does not tell the number of rows" if self.stated is None else f"says {self.stated} rows"
            harvest.fault("wrong_count", f"{self.path.name}: the first line {claimed}, there are {rows}", line=1)


def find_list(root: Path, folders: tuple[str, ...], name: str) -> Path:
    """The list of this name in the first of the folders that has it. Raises CatalogNotFound."""
    for folder in folders:
        path = root / folder / name
        if path.is_file():
            return path
    places = " or ".join(f"{folder}/{name}" for folder in folders)
    raise CatalogNotFound(f"there is no {name} below {root}; this layout has it as {places}")


def open_list(path: Path, *, root: Path, columns: tuple[str, ...], has_header: bool = True) -> ListFile:
    """The list at `path`, which must lie inside `root` after links are followed.

    Raises CatalogNotFound, CatalogRootRefused for a link out of the root, and CatalogMalformed for a list that is
    empty, too large or whose header has another number of columns or another first one.
    """
    path = check_file(path, root=root)
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise CatalogMalformed(f"{path} is empty; its first line must be the number of its rows")
    number, words = first[0], _words(first[1])
    is_count = len(words) == 1 and words[0].isascii() and words[0].isdigit()
    stated = int(words[0][:18]) if is_count else None
    if not has_header:
        return ListFile(path, columns, stated, number if is_count else number - 1)
    if not _names(words, columns):
        number, header = next(lines, (number, b""))
        if not _names(_words(header), columns):
            raise CatalogMalformed(
                f"{path} has no header; after the number of rows it needs the line {' '.join(columns)!r}"
            )
    return ListFile(path, columns, stated, number)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    with open_checked(path) as file:
        for number, line in enumerate(file, start=1):
            data = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if not data.isspace() and data:
                yield number, data


def _words(line: bytes) -> list[str]:
    return decoded(line[:_MAX_LINE_BYTES])[0].split()


def _names(words: list[str], columns: tuple[str, ...]) -> bool:
    return len(words) == len(columns) and words[0].lower() == columns[0]
