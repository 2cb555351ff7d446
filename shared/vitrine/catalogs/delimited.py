"""Split the text of a CSV into rows, also if parts of the file are malformed.

A quoted field may span lines. Where the quotation marks of a row do not follow RFC 4180, two readings are compared: a
field of several lines with a stray mark inside, or a single line with a mark that is never closed. If the lines that
follow are rows of their own, as wide as the header, it is the latter. So a description never becomes rows, and a stray
mark costs no other row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final

from vitrine.catalogs.table_files import MAX_ROW_CHARS, Row
from vitrine.catalogs.text_blocks import TextBlock
from vitrine.errors import CatalogMalformed

# Maximum number of characters read after quotation marks that never close, before the file is refused: for each such
# mark, a whole maximal row is searched.
_MAX_WASTED_CHARS: Final = 20 * MAX_ROW_CHARS
# Lines that are compared with the header's width after a quotation that is malformed.
_COMPARED_LINES: Final = 50
# This limit is global to the process and 131,072 by default. It is raised once, at import, so that no thread sees it
# change. Rows have their own limit.
csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARS))


@dataclass(frozen=True)
class Dialect:
    """How rows are divided into fields.

    `has_escapes`: a backslash protects a quotation mark, a delimiter or a backslash. `skips_blanks`: blanks after a
    delimiter are not part of the field.
    """

    delimiter: str = ","
    quote: str = '"'
    has_escapes: bool = False
    skips_blanks: bool = False

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of the csv module."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote,
            "escapechar": "\\" if self.has_escapes else None,
            "skipinitialspace": self.skips_blanks,
        }

    @cached_property
    def closing(self) -> re.Pattern[str]:
        """A quotation mark that ends a field, with the blanks after it and the delimiter or the line's end."""
        blanks = "[ ]*" if self.delimiter == " " or self.delimiter == "\t" else "[ \t]*"
        return re.compile(f"{re.escape(self.quote)}{blanks}(?:({re.escape(self.delimiter)})|\\r?$)")


class RowParser:
    """Reads rows from blocks of text, once. `width` is the header's number of fields; None while that is unknown.

    `repaired` counts the rows whose quotation marks had to be guessed.
    """

    def __init__(self, path: Path, blocks: Iterable[TextBlock], line_end: str, dialect: Dialect) -> None:
        self._path = path
        self._blocks = iter(blocks)
        self._end = line_end
        self._dialect = dialect
        self._lines: list[str] = []
        self._converted: set[int] = set()  # indexes in `_lines`
        self._at = 0
        self._line = 1  # the number of the line at index 0
        self._wasted_chars = 0
        self.width: int | None = None
        self.repaired = 0

    def skip_line(self) -> None:
        if self._fill():
            self._at += 1

    def rows(self) -> Iterator[Row]:
        """The rows that are left, without blank ones."""
        delimiter, quote = self._dialect.delimiter, self._dialect.quote
        has_escapes, skips_blanks = self._dialect.has_escapes, self._dialect.skips_blanks
        while self._at < len(self._lines) or self._fill():
            lines = self._lines
            line = lines[self._at]
            number = self._line + self._at
            is_utf8 = self._at not in self._converted
            if len(line) > MAX_ROW_CHARS:
                self._at += 1
                yield Row(number, None, is_utf8)
                continue
            if quote in line or (has_escapes and "\\" in line):
                fields, used = self._quoted(line)
                if used > 1:
                    is_utf8 = self._converted.isdisjoint(range(self._at, self._at + used))
                self._at += used
            else:
                fields = line.split(delimiter)
                if line[-1:] == "\r" and self._end == "\n":
                    fields[-1] = fields[-1][:-1]
                if skips_blanks:
                    fields = [field.lstrip(" ") for field in fields]
                if self.width is not None and len(fields) > self.width and f"\\{delimiter}" in line:
                    fields = self._escaped(line) or fields
                self._at += 1
            if not fields[0].strip() and not any(field.strip() for field in fields):
                continue
            yield Row(number, fields, is_utf8)

    def _fill(self) -> bool:
        """Read lines until there is one at the index, and forget those before it."""
        if self._at:
            del self._lines[: self._at]
            self._converted = {index - self._at for index in self._converted if index >= self._at}
            self._line += self._at
            self._at = 0
        while not self._lines:
            if not self._append():
                return False
        return True

    def _append(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        lines = block.text.split(self._end)
        if not lines[-1]:
            lines.pop()
        if block.converted:
            self._converted.update(len(self._lines) + index for index in block.converted)
        self._lines += lines
        return True

    def _ahead(self) -> Iterator[str]:
        """The lines from the current one, which stays the current one."""
        index = self._at
        while index < len(self._lines) or self._append():
            yield self._lines[index]
            index += 1

    def _quoted(self, line: str) -> tuple[list[str], int]:
        """The fields of the row that begins at the current line, and its number of lines."""
        width = self.width
        if line.count(self._dialect.quote) % 2 == 0:
            try:
                source_line = _protected(line) if self._dialect.has_escapes else line
                fields: list[str] = next(csv.reader((source_line,), strict=True, **self._dialect.options))
            except csv.Error:
                pass
            else:
                if width is None or len(fields) == width:
                    return fields, 1
        fields_or_none, source = self._strictly(self._dialect)
        if fields_or_none is not None and (width is None or len(fields_or_none) == width):
            return fields_or_none, source.used
        self.repaired += 1
        if source.has_backslash and not self._dialect.has_escapes:
            escaped, escaped_source = self._strictly(_with_escapes(self._dialect))
            if escaped is not None and len(escaped) == width:
                return escaped, escaped_source.used
        if fields_or_none is not None and not (source.used > 1 and self._are_rows(source.used)):
            return fields_or_none, source.used
        repaired = self._repaired()
        if repaired is not None:
            return repaired
        if fields_or_none is None and source.used > 1:
            self._waste(source.chars)
        return self._alone(line), 1

    def _strictly(self, dialect: Dialect) -> tuple[list[str] | None, _Source]:
        """The row at the current line as the csv module reads it; None if it is malformed."""
        source = _Source(self._ahead(), self._end, _protected if dialect.has_escapes else None)
        try:
            return next(csv.reader(source, strict=True, **dialect.options)), source
        except (csv.Error, StopIteration):
            return None, source

    def _repaired(self) -> tuple[list[str], int] | None:
        """The row at the current line if a quotation mark ends a field only before a delimiter or a line's end."""
        if self.width is None:
            return None
        fields, used, is_closed = _between_outer_quotes(self._ahead(), self._end, self._dialect)
        if used == 1:
            return (fields, 1) if is_closed and len(fields) == self.width else None
        if self._are_rows(used) or (is_closed and len(fields) != self.width):
            return None
        if (not is_closed and self._at + used < len(self._lines)) or len(fields) > self.width:
            return None
        return fields, used

    def _are_rows(self, used: int) -> bool:
        """Whether most of the lines after the current one, which a quotation would contain, are as wide as a header."""
        if self.width is None:
            return True
        lines = [line for line in islice(self._ahead(), 1, min(used, _COMPARED_LINES)) if line.strip()]
        return 2 * sum(len(self._alone(line)) == self.width for line in lines) > len(lines)

    def _alone(self, line: str) -> list[str]:
        """The fields of a line whose quotation marks are malformed, read without the lines after it."""
        line = line.removesuffix("\r") if self._end == "\n" else line
        fields, _, is_closed = _between_outer_quotes(iter((line,)), self._end, self._dialect)
        if is_closed and (self.width is None or len(fields) == self.width):
            return fields
        try:
            return next(csv.reader((line,), strict=line.count(self._dialect.quote) % 2 == 1, **self._dialect.options))
        except (csv.Error, StopIteration):
            return line.split(self._dialect.delimiter)

    def _escaped(self, line: str) -> list[str] | None:
        """The fields of a line in which a backslash protects delimiters, if there are as many as in the header."""
        reader = csv.reader((_protected(line),), strict=True, **_with_escapes(self._dialect).options)
        try:
            fields = next(reader)
        except (csv.Error, StopIteration):
            return None
        if len(fields) != self.width:
            return None
        self.repaired += 1
        return fields

    def _waste(self, chars: int) -> None:
        self._wasted_chars += chars
        if self._wasted_chars > _MAX_WASTED_CHARS:
            raise CatalogMalformed(
                f"{self._path} has a quotation in line {self._line + self._at} that never ends, as in many lines "
                "before; a field with a quotation mark must be quoted, and the mark doubled"
            )


class _Source(Iterator[str]):
    """Feeds the csv module line by line until the row is complete or too long."""

    def __init__(self, lines: Iterator[str], end: str, change: Callable[[str], str] | None) -> None:
        self._lines = lines
        self._end = end
        self._change = change
        self.used = 0
        self.chars = 0
        self.has_backslash = False

    def __next__(self) -> str:
        if self.chars > MAX_ROW_CHARS:
            raise StopIteration
        line = next(self._lines)
        self.used += 1
        self.chars += len(line) + 1
        self.has_backslash = self.has_backslash or "\\" in line
        return (line if self._change is None else self._change(line)) + self._end


def _between_outer_quotes(lines: Iterator[str], end: str, dialect: Dialect) -> tuple[list[str], int, bool]:
    """The fields of a row in which marks inside quoted fields are not doubled; its lines; whether it is complete."""
    fields: list[str] = []
    parts: list[str] = []
    is_open = False
    used = chars = 0
    for line in lines:
        used += 1
        chars += len(line) + 1
        at = 0
        while True:
            if not is_open and line.startswith(dialect.quote, at):
                is_open, at = True, at + 1
            if not is_open:
                cut = line.find(dialect.delimiter, at)
                if cut < 0:
                    fields.append(line[at:].removesuffix("\r"))
                    return fields, used, True
                fields.append(line[at:cut])
                at = cut + 1
                continue
            closing = _closing(line, at, dialect)
            if closing is None:
                parts.append(line[at:] + end)
                break
            parts.append(line[at : closing.start()])
            fields.append("".join(parts).replace(2 * dialect.quote, dialect.quote))
            parts, is_open, at = [], False, closing.end()
            if closing[1] is None:
                return fields, used, True
        if chars > MAX_ROW_CHARS // 10:
            break
    fields.append("".join(parts).removesuffix(end).replace(2 * dialect.quote, dialect.quote))
    return fields, used, False


def _closing(line: str, at: int, dialect: Dialect) -> re.Match[str] | None:
    """The quotation mark that ends the field at `at`: not one of a doubled pair."""
    while (found := line.find(dialect.quote, at)) >= 0:
        if line.startswith(2 * dialect.quote, found):
            at = found + 2
            continue
        closing = dialect.closing.match(line, found)
        if closing is not None:
            return closing
        at = found + 1
    return None


def _with_escapes(dialect: Dialect) -> Dialect:
    return Dialect(dialect.delimiter, dialect.quote, has_escapes=True, skips_blanks=dialect.skips_blanks)


_BACKSLASHES: Final = re.compile(r"\\(.?)", re.DOTALL)


def _protected(line: str) -> str:
    """The line with those backslashes doubled that protect nothing, as in `images\\1.jpg`."""
    return _BACKSLASHES.sub(lambda found: found[0] if found[1] in _PROTECTED else f"\\\\{found[1]}", line)


_PROTECTED: Final = frozenset("\\\"',;\t|\r\n") | {""}
