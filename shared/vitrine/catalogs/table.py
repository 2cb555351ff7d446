"""Read a catalogue's CSV as rows of strings, also if parts of the file are malformed.

A quoted field may span lines. A quotation mark that is never closed affects its own row only, not the rest of the file.
Accepted are UTF-8 with or without a byte order mark, UTF-16 with one, single lines of Windows-1252, and all line
endings; inside a quoted field a line ending is kept as it is.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from vitrine.errors import CatalogMalformed, CatalogNotFound, CatalogRootRefused
from vitrine.safe_read import open_regular

MAX_CSV_BYTES: Final = 500_000_000
MAX_ROW_CHARS: Final = 10_000_000
DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE_ROWS: Final = 100
# Maximum number of characters read after quotation marks that never close, before the file is refused: for each such
# mark, a whole maximal row is searched.
_MAX_WASTED_CHARS: Final = 20 * MAX_ROW_CHARS
# This limit is global to the process and 131,072 by default. It is raised once, at import, so that no thread sees it
# change. Rows have their own limit.
csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARS))


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `line` is its first line, from 1. `fields` is None if the row is too long."""

    line: int
    fields: list[str] | None
    is_utf8: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV: its header, stripped of whitespace, and its rows."""

    path: Path
    header: tuple[str, ...]
    delimiter: str
    _lines: _Lines
    _first: int

    def fitted(self, row: Row, *, name_column: str | None) -> list[str] | None:
        """The row's fields, at most as many as the header has, or None if there are too many.

        Extra fields come from unquoted delimiters in free text. They are joined to the last column if that is
        `name_column`, the column of free text.
        """
        fields, width = row.fields, len(self.header)
        if fields is None or len(fields) <= width:
            return fields
        if self.header[-1] != name_column:
            return None
        return [*fields[: width - 1], self.delimiter.join(fields[width - 1 :])]

    def rows(self) -> Iterator[Row]:
        """The rows after the header, without blank lines.

        Raises CatalogMalformed if far too many quotation marks are never closed.
        """
        return self._lines.rows(self._first, self.delimiter)


class _Lines:
    """A file's lines, split at its line ending, which may also occur in quoted fields."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._ending = _line_ending(data)
        self._lines = data.split(self._ending)
        self._end = self._ending.decode()
        self._wasted_chars = 0

    def first(self) -> int | None:
        """The index of the first line that is not blank."""
        return next((index for index, line in enumerate(self._lines) if line.strip()), None)

    def rows(self, first: int, delimiter: str) -> Iterator[Row]:
        index = first
        while index < len(self._lines):
            row, used = self.row(index, delimiter)
            if row is not None:
                yield row
            index += used

    def row(self, index: int, delimiter: str) -> tuple[Row | None, int]:
        """The row that begins at line `index`, None for a blank line; and its number of lines."""
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
        """Split a line that has quotation marks, together with the next lines if a quoted field spans them."""
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
        # The quotation is never closed: use the line alone, with its marks.
        self._wasted_chars += source.chars
        if self._wasted_chars > _MAX_WASTED_CHARS:
            raise CatalogMalformed(
                f"{self._path} has a quotation in line {index + 1} that never ends, as in many lines before; "
                "a field with a quotation mark must be quoted, and the mark doubled"
            )
        return Row(index + 1, line.split(delimiter), is_utf8), 1


class _Source(Iterator[str]):
    """Feeds the csv module line by line until the row is complete or too long."""

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
    """Read a CSV that must be inside `root` after links are resolved.

    The delimiter (comma, semicolon, tab or bar) is the one that gives a header with a known column (`known_columns`,
    lower case) and rows as wide as the header. Raises CatalogNotFound, CatalogRootRefused for a link out of the root,
    and CatalogMalformed if the file is empty, too large or has no header.
    """
    with open_checked(check_file(path, root=root)) as file:
        lines = _Lines(path, _as_utf8(file.read(MAX_CSV_BYTES)))
    first = lines.first()
    if first is None:
        raise CatalogMalformed(f"{path} is empty; it needs a header line and one row per product")
    delimiter = max(DELIMITERS, key=lambda mark: _fit(lines, first, mark, known_columns))
    header, used = _header(lines, first, delimiter)
    return Table(path, header, delimiter, lines, first + used)


def check_file(path: Path, *, root: Path) -> Path:
    """The path of a file, with its links resolved.

    Raises CatalogRootRefused for a link out of `root`, CatalogNotFound, and CatalogMalformed if the file is too large.
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
    """Open a path from `check_file`. Raises CatalogNotFound if the file was replaced by a link or by something else."""
    try:
        return open_regular(path)
    except OSError as error:
        raise CatalogNotFound(f"{path} cannot be opened as a regular file") from error


def decoded(line: bytes) -> tuple[str, bool]:
    """The line's text, and whether it is UTF-8; otherwise it is read as Windows-1252."""
    try:
        return line.decode(), True
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace"), False


def _fit(lines: _Lines, first: int, delimiter: str, known_columns: Collection[str]) -> tuple[bool, float]:
    """The score of a delimiter: whether the header has a known column, and the share of sampled rows that are
    as wide as the header, times that width.
    """
    header, used = _header(lines, first, delimiter)
    if len(header) < 2:
        return delimiter == DELIMITERS[0] and header[0].lower() in known_columns, 0.0
    sample = list(islice(lines.rows(first + used, delimiter), _SAMPLE_ROWS))
    fitting = sum(row.fields is not None and len(row.fields) == len(header) for row in sample)
    share = (fitting + 1) / (len(sample) + 1)  # the header counts as one row that fits
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
    """The row separator: the first line break outside quotation marks; LF also stands for CRLF."""
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
    """The fields of a line whose quotation marks do not follow RFC 4180."""
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return line.split(delimiter)
