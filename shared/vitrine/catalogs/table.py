"""A catalogue's CSV as rows of strings, whatever state the file is in.

Rows are split one line at a time, so that one stray quotation mark costs one row and not the rest of the file; a quoted
field may still span a few lines. UTF-8 with or without a byte order mark, UTF-16 with one, and single rows of
Windows-1252 are read; every line ending is known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitrine.errors import CatalogMalformed, CatalogNotFound, CatalogRootRefused

MAX_CSV_BYTES: Final = 500_000_000
_MAX_LINES_OF_A_ROW: Final = 10
_MAX_LINE_CHARS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `line` is its first line, from 1. `fields` is None where the row cannot be split."""

    line: int
    fields: list[str] | None
    is_utf8: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV's header, stripped of blanks, and its text lines after it."""

    path: Path
    header: tuple[str, ...]
    _lines: list[bytes]
    _first: int
    delimiter: str

    def fitted(self, row: Row, *, name_column: str | None) -> list[str] | None:
        """The row's fields, at most as many as the header has, or None where that cannot be.

        Surplus fields come from unquoted delimiters in free text, so they are joined to the last column if that is
        `name_column`, the column of free text.
        """
        fields, width = row.fields, len(self.header)
        if fields is None or len(fields) <= width:
            return fields
        if self.header[-1] != name_column:
            return None
        return [*fields[: width - 1], self.delimiter.join(fields[width - 1 :])]

    def rows(self) -> Iterator[Row]:
        """The rows after the header. Blank lines are passed over."""
        lines, index = self._lines, self._first
        while index < len(lines):
            line, is_utf8 = decoded(lines[index])
            number, used = index + 1, 1
            if not line.strip():
                index += 1
                continue
            if '"' not in line:
                fields: list[str] | None = line.split(self.delimiter) if len(line) <= _MAX_LINE_CHARS else None
            else:
                fields, used, is_utf8 = self._quoted(index, line, is_utf8)
            yield Row(number, fields, is_utf8)
            index += used

    def _quoted(self, index: int, line: str, is_utf8: bool) -> tuple[list[str] | None, int, bool]:
        """Split a line that has quotation marks, with the following ones where a quoted field goes on there."""
        text, sound = line, is_utf8
        for used in range(1, _MAX_LINES_OF_A_ROW + 1):
            fields = _split(text, self.delimiter)
            if fields is not None:
                return fields, used, sound
            if index + used >= len(self._lines) or len(text) > _MAX_LINE_CHARS:
                break
            following, following_is_utf8 = decoded(self._lines[index + used])
            text, sound = f"{text}\n{following}", sound and following_is_utf8
        # The quotation never ends: take the line by itself, marks and all.
        return (line.split(self.delimiter) if len(line) <= _MAX_LINE_CHARS else None), 1, is_utf8


def read_table(path: Path, *, root: Path) -> Table:
    """Read a CSV that must lie inside `root` after links are followed.

    Raises CatalogNotFound, CatalogRootRefused for a link out of the root, and CatalogMalformed for a file that is
    empty, too large or has no header. The delimiter is the comma, or a semicolon or tab where the header has no comma.
    """
    check_file(path, root=root)
    lines = _lines(path.read_bytes())
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise CatalogMalformed(f"{path} is empty; it needs a header line and one row a product")
    header_line = decoded(lines[first])[0]
    delimiter = next((mark for mark in (",", ";", "\t") if mark in header_line), ",")
    header = tuple(name.strip() for name in _split(header_line, delimiter) or header_line.split(delimiter))
    return Table(path, header, lines, first + 1, delimiter)


def check_file(path: Path, *, root: Path) -> None:
    """Raise CatalogRootRefused, CatalogNotFound or CatalogMalformed for a file that must not or cannot be read."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise CatalogRootRefused(f"{path} is a link out of the catalogue")
    if not path.is_file():
        raise CatalogNotFound(f"there is no {path.name} in {path.parent}")
    if path.stat().st_size > MAX_CSV_BYTES:
        raise CatalogMalformed(f"{path} has more than {MAX_CSV_BYTES} bytes")


def _lines(data: bytes) -> list[bytes]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    ending = b"\n" if b"\n" in data else b"\r"
    return [line.removesuffix(b"\r") for line in data.split(ending)]


def decoded(line: bytes) -> tuple[str, bool]:
    """The line's text, and whether it is UTF-8; where it is not it is read as Windows-1252."""
    try:
        return line.decode(), True
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace"), False


def _split(text: str, delimiter: str) -> list[str] | None:
    """The fields of one row, or None where a quotation in it does not end."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
    try:
        return next(csv.reader([text], delimiter=delimiter))
    except csv.Error:
        return text.split(delimiter)
