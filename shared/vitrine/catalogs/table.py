"""A catalogue's CSV as rows of strings, whatever state the file is in.

A quoted field may span any number of lines. A quotation mark that opens a field and is never closed as RFC 4180 asks
costs its own row and not the rest of the file. UTF-8 with or without a byte order mark, UTF-16 with one, and single
lines of Windows-1252 are read; every line ending is known, and inside a quoted field it stays as it is.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from vitrine.catalogs.opening import open_regular
from vitrine.errors import CatalogMalformed, CatalogNotFound, CatalogRootRefused

MAX_CSV_BYTES: Final = 500_000_000
MAX_ROW_CHARS: Final = 10_000_000
DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE_ROWS: Final = 100
# Characters that may be read in vain behind quotation marks that never close, before the file is refused: each such
# mark is looked for to the longest row's end.
_MAX_WASTED_CHARS: Final = 20 * MAX_ROW_CHARS
# The limit belongs to the whole process and is 131,072 at first. It is raised here, while the module is loaded and the
# import lock is held, and never changed again, so that threads cannot see it change. Rows have a limit of their own.
csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARS))


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `line` is its first line, from 1. `fields` is None where the row cannot be split."""

    line: int
    fields: list[str] | None
    is_utf8: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV's header, stripped of blanks, and its text after it."""

    path: Path
    header: tuple[str, ...]
    delimiter: str
    _lines: _Lines
    _first: int

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
        """The rows after the header. Blank lines are passed over.

        Raises CatalogMalformed where far too many quotation marks are never closed.
        """
        return self._lines.rows(self._first, self.delimiter)


class _Lines:
    """A file's lines, split at its own line ending, which a quoted field may hold too."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._ending = _line_ending(data)
        self._lines = data.split(self._ending)
        self._end = self._ending.decode()
        self._wasted_chars = 0

    def first(self) -> int | None:
        """The first line that is not blank."""
        return next((index for index, line in enumerate(self._lines) if line.strip()), None)

    def rows(self, first: int, delimiter: str) -> Iterator[Row]:
        index = first
        while index < len(self._lines):
            row, used = self.row(index, delimiter)
            if row is not None:
                yield row
            index += used

    def row(self, index: int, delimiter: str) -> tuple[Row | None, int]:
        """The row that begins at line `index`, and how many lines it has; None for a blank line."""
        line, is_utf8 = decoded(self._lines[index])
        if self._end == "\n":
            line = line.removesuffix("\r")
        if not line.replace(delimiter, "x").strip():
            return None, 1
        if len(line) > MAX_ROW_CHARS:
            return Row(index + 1, None, is_utf8), 1
        if '"' not in line:
            return Row(index + 1, line.split(delimiter), is_utf8), 1
        return self._quoted(index, line, is_utf8, delimiter)

    def _quoted(self, index: int, line: str, is_utf8: bool, delimiter: str) -> tuple[Row, int]:
        """Split a line that has quotation marks, with the following ones where a quoted field goes on there."""
        source = _Source(self._lines, index, self._end)
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error:
            pass
        else:
            return Row(index + 1, fields, source.is_utf8), source.used
        if source.used == 1:
            return Row(index + 1, _leniently(line, delimiter), is_utf8), 1
        # The quotation is never closed: take the line by itself, marks and all.
        self._wasted_chars += source.chars
        if self._wasted_chars > _MAX_WASTED_CHARS:
            raise CatalogMalformed(
                f"{self._path} opens a quotation in line {index + 1} that never ends, as in many lines before; "
                "a field that holds a quotation mark must be quoted, and the mark doubled"
            )
        return Row(index + 1, line.split(delimiter), is_utf8), 1


class _Source(Iterator[str]):
    """The lines of one row, handed to the csv module one by one until the row is complete or too long."""

    def __init__(self, lines: list[bytes], index: int, end: str) -> None:
        self._lines = islice(lines, index, None)
        self._end = end
        self.used = 0
        self.chars = 0
        self.is_utf8 = True

    def __next__(self) -> str:
        if self.chars > MAX_ROW_CHARS:
            raise StopIteration
        line, is_utf8 = decoded(next(self._lines))
        self.used += 1
        self.chars += len(line) + 1
        self.is_utf8 = self.is_utf8 and is_utf8
        return line + self._end


def read_table(path: Path, *, root: Path, known_columns: Collection[str] = ()) -> Table:
    """Read a CSV that must lie inside `root` after links are followed.

    The delimiter is the comma, semicolon, tab or bar by which the header holds a known column (lower case) and the
    rows are as wide as the header. Raises CatalogNotFound, CatalogRootRefused for a link out of the root, and
    CatalogMalformed for a file that is empty, too large or has no header.
    """
    with open_checked(check_file(path, root=root)) as file:
        lines = _Lines(path, _as_utf8(file.read(MAX_CSV_BYTES)))
    first = lines.first()
    if first is None:
        raise CatalogMalformed(f"{path} is empty; it needs a header line and one row a product")
    delimiter = max(DELIMITERS, key=lambda mark: _fit(lines, first, mark, known_columns))
    header, used = _header(lines, first, delimiter)
    return Table(path, header, delimiter, lines, first + used)


def check_file(path: Path, *, root: Path) -> Path:
    """The file's path without links.

    Raises CatalogRootRefused, CatalogNotFound or CatalogMalformed for a file that must not or cannot be read.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise CatalogRootRefused(f"{path} is a link out of the catalogue")
    if not resolved.is_file():
        raise CatalogNotFound(f"there is no {path.name} in {path.parent}")
    if resolved.stat().st_size > MAX_CSV_BYTES:
        raise CatalogMalformed(f"{path} has more than {MAX_CSV_BYTES} bytes")
    return resolved


def open_checked(path: Path) -> BinaryIO:
    """Open what `check_file` returned. Raises CatalogNotFound where a link or something else has taken its place."""
    try:
        return os.fdopen(open_regular(path), "rb")
    except OSError as error:
        raise CatalogNotFound(f"{path} cannot be opened as a regular file") from error


def decoded(line: bytes) -> tuple[str, bool]:
    """The line's text, and whether it is UTF-8; where it is not it is read as Windows-1252."""
    try:
        return line.decode(), True
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace"), False


def _fit(lines: _Lines, first: int, delimiter: str, known_columns: Collection[str]) -> tuple[bool, float]:
    """How well a delimiter fits: whether the header then holds a known column, and the share of the sampled rows that
    are as wide as the header, times that width. The first of equal ones is taken.
    """
    header, used = _header(lines, first, delimiter)
    if len(header) < 2:
        return delimiter == DELIMITERS[0] and header[0].lower() in known_columns, 0.0
    sample = list(islice(lines.rows(first + used, delimiter), _SAMPLE_ROWS))
    fitting = sum(row.fields is not None and len(row.fields) == len(header) for row in sample)
    share = (fitting + 1) / (len(sample) + 1)  # the header fits itself
    return any(name.lower() in known_columns for name in header), share * len(header)


def _header(lines: _Lines, first: int, delimiter: str) -> tuple[tuple[str, ...], int]:
    row, used = lines.row(first, delimiter)
    fields = row.fields if row is not None and row.fields is not None else [""]
    return tuple(name.strip() for name in fields), used


def _as_utf8(data: bytes) -> bytes:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode(errors="replace")
    return data.removeprefix(b"\xef\xbb\xbf")


def _line_ending(data: bytes) -> bytes:
    """What ends a row: the first line break that stands outside quotation marks, CRLF counting as LF."""
    quotes = start = 0
    while True:
        found = [at for at in (data.find(b"\n", start), data.find(b"\r", start)) if at >= 0]
        if not found or start > MAX_ROW_CHARS:
            return b"\n" if b"\n" in data else b"\r"
        at = min(found)
        quotes += data.count(b'"', start, at)
        if quotes % 2 == 0 and data[start:at].strip():
            return b"\r" if data[at : at + 1] == b"\r" and data[at + 1 : at + 2] != b"\n" else b"\n"
        start = at + 1


def _leniently(line: str, delimiter: str) -> list[str]:
    """The fields of a line whose quotation marks are not as RFC 4180 asks."""
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return line.split(delimiter)
