"""Find the dialect of a CSV: what divides and what quotes its fields.

A delimiter is judged by the header and by up to a thousand rows: whether it gives a column that the readers know, and
how many rows are as wide as the header. Where that does not decide, clevercsv does. (clevercsv alone takes a second for
each 100 kB, and prefers the commas of prices and of long texts when most fields are text.) Titles and comments above
the header are skipped if a line below them has known columns.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from vitrine.catalogs.delimited import Dialect, RowParser
from vitrine.catalogs.table_files import MAX_ROW_CHARS, Row, TableFile
from vitrine.catalogs.text_blocks import find_line_end, text_blocks
from vitrine.catalogs.text_encoding import TextEncoding
from vitrine.errors import CatalogMalformed

DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE_ROWS: Final = 1000
_SAMPLE_CHARS: Final = 4_000_000
# clevercsv takes time in proportion to the square of the text.
_CLEVERCSV_CHARS: Final = 16_000
# How much better than the next delimiter the best one must be.
_CLEAR_LEAD: Final = 1.5
# The share of rows that an unusual delimiter must fit.
_MIN_CLEAN: Final = 0.9
_MAX_LINES_ABOVE_HEADER: Final = 30
_MAX_HEADER_CHARS: Final = 100_000
_COMMENT_MARKS: Final = ("#", "//", "--")
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?\r?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DelimitedText:
    """A file of delimited text: a new parser for each pass. `first` lines are skipped, such as `sep=;`."""

    file: TableFile
    encoding: TextEncoding
    line_end: str
    first: int = 0

    def parser(self, dialect: Dialect) -> RowParser:
        blocks = text_blocks(self.file, self.encoding, self.line_end)
        parser = RowParser(self.file.path, blocks, self.line_end, dialect)
        for _ in range(self.first):
            parser.skip_line()
        return parser


def find_dialect(
    file: TableFile, encoding: TextEncoding, known_columns: Collection[str]
) -> tuple[DelimitedText, Dialect]:
    """The text and the dialect of a file. Raises CatalogMalformed if it has no header."""
    text = DelimitedText(file, encoding, find_line_end(file, encoding))
    lines = _first_lines(text)
    first = next((index for index, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise CatalogMalformed(f"{file.path} is empty; it needs a header line and one row per product")
    named = _SEPARATOR_LINE.fullmatch(lines[first])
    if named is not None:
        text = replace(text, first=first + 1 + _above_header(lines[first + 1 :], (named[1],), known_columns))
        return text, _variant(text, Dialect(named[1]), "\n".join(lines), known_columns)
    text = replace(text, first=_above_header(lines, DELIMITERS, known_columns))
    delimiter = _delimiter(text, lines, known_columns)
    return text, _variant(text, Dialect(delimiter), "\n".join(lines), known_columns)


def header_of(row: Row | None) -> tuple[str, ...]:
    """The names of the columns: without blanks around them, and without unnamed columns at the end."""
    names = [name.strip("\ufeff\u200b \t\r\n\f\v\xa0") for name in (row.fields if row and row.fields else [""])]
    while len(names) > 1 and not names[-1]:
        names.pop()
    return tuple(names)


def _above_header(lines: list[str], delimiters: Collection[str], known_columns: Collection[str]) -> int:
    """How many lines stand above the header: titles and comments, which have fewer fields, and a header in other words.

    Zero if the first line has known columns, or if no line has.
    """
    found = min((_header_at(lines, mark, known_columns) for mark in delimiters), key=lambda at: (at is None, at))
    return found or 0


def _header_at(lines: list[str], delimiter: str, known_columns: Collection[str]) -> int | None:
    """The index of the first line with known columns whose lines above are no rows."""
    widest = after = 0
    for index in range(min(len(lines), _MAX_LINES_ABOVE_HEADER)):
        if index < after or not lines[index].strip() or len(lines[index]) > _MAX_HEADER_CHARS:
            continue
        # A quoted name may have line breaks: its later lines begin no row.
        after = _row_end(lines, index)
        line = "\n".join(lines[index:after])
        names = _names(line, delimiter)
        if len(names) > max(1, widest) and _known_names(names, known_columns):
            # Amazon's flat files have the names of the columns for people, and below them those for programs.
            below = _names(lines[after], delimiter) if after < len(lines) else []
            has_second = len(below) == len(names) and _known_names(below, known_columns) > 1
            return after if has_second else index
        if not line.lstrip().startswith(_COMMENT_MARKS):
            widest = max(widest, len(names))
    return None


def _row_end(lines: list[str], index: int) -> int:
    """The index after the last line of the row that begins at `index`, if a quotation that it opens is closed soon."""
    if lines[index].count('"') % 2:
        for end in range(index + 1, min(len(lines), index + _MAX_LINES_ABOVE_HEADER)):
            if lines[end].count('"') % 2:
                return end + 1
    return index + 1


def _names(line: str, delimiter: str) -> list[str]:
    """The fields of a line that are not empty."""
    try:
        fields = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
    return [name for name in (field.strip("\ufeff \r") for field in fields) if name]


def _known_names(names: Collection[str], known_columns: Collection[str]) -> int:
    return sum(_is_known(name, known_columns) for name in names)


def _is_known(name: str, known_columns: Collection[str]) -> bool:
    """Whether a column is known: `Product ID` and `product_id` are `productid`."""
    name = name.casefold()
    return name in known_columns or "".join(filter(str.isalnum, name)) in known_columns


@dataclass(frozen=True, slots=True)
class _Score:
    """How well a dialect fits: `width` of the header, the share of sampled rows that are as wide, and of those that
    are so without a guess.
    """

    has_known: bool
    width: int
    fitting: float
    clean: float

    @property
    def order(self) -> tuple[bool, float]:
        return self.has_known, self.fitting * self.width if self.width > 1 else 0.0


def _delimiter(text: DelimitedText, lines: list[str], known_columns: Collection[str]) -> str:
    scores = {mark: _score(text, Dialect(mark), known_columns) for mark in DELIMITERS}
    ranked = sorted(DELIMITERS, key=lambda mark: scores[mark].order, reverse=True)
    best, second = (scores[mark] for mark in ranked[:2])
    if best.width == 1:
        return DELIMITERS[0] if _names_known(text, known_columns) else _found_by_clevercsv(text, lines, None)
    lead = best.order[1] / second.order[1] if second.order[1] else _CLEAR_LEAD
    if (best.has_known and not second.has_known) or lead >= _CLEAR_LEAD:
        return ranked[0]
    possible = [mark for mark in DELIMITERS if scores[mark].width > 1 and scores[mark].has_known == best.has_known]
    return _found_by_clevercsv(text, lines, possible)


def _names_known(text: DelimitedText, known_columns: Collection[str]) -> bool:
    """Whether the header is the name of one known column."""
    header = header_of(next(text.parser(Dialect()).rows(), None))
    return _is_known(header[0], known_columns)


def _score(text: DelimitedText, dialect: Dialect, known_columns: Collection[str]) -> _Score:
    parser = text.parser(dialect)
    rows = parser.rows()
    first = next(rows, None)
    header = header_of(first)
    width = len(first.fields) if first is not None and first.fields is not None else 1
    has_known = any(_is_known(name, known_columns) for name in header)
    if width < 2:
        return _Score(has_known, 1, 0.0, 0.0)
    parser.width = width
    sampled = fitting = clean = chars = 0
    repaired = parser.repaired
    for row in islice(rows, _SAMPLE_ROWS):
        sampled += 1
        if row.fields is not None:
            fits = len(row.fields) == width
            fitting += fits
            clean += fits and parser.repaired == repaired and (dialect.has_escapes or not _has_escape(row.fields))
            chars += sum(map(len, row.fields))
        repaired = parser.repaired
        if chars > _SAMPLE_CHARS:
            break
    # The header counts as one row that fits.
    return _Score(has_known, width, (fitting + 1) / (sampled + 1), (clean + 1) / (sampled + 1))


def _has_escape(fields: list[str]) -> bool:
    """Whether a field has a quotation mark with a backslash before it, as only escapes have."""
    return any('\\"' in field for field in fields)


def _variant(text: DelimitedText, plain: Dialect, sample: str, known_columns: Collection[str]) -> Dialect:
    """The dialect with this delimiter that fits most rows without a guess, if another one than usual does."""
    marks: tuple[tuple[Dialect, Callable[[], bool]], ...] = (
        (replace(plain, has_escapes=True), lambda: "\\" in sample),
        (replace(plain, skips_blanks=True), lambda: f'{plain.delimiter} "' in sample),
        (replace(plain, quote="'"), lambda: '"' not in sample and f"{plain.delimiter}'" in sample),
    )
    possible = [dialect for dialect, is_seen in marks if is_seen()]
    if not possible:
        return plain
    scores = {dialect: _score(text, dialect, known_columns) for dialect in (plain, *possible)}

    def order(dialect: Dialect) -> tuple[bool, float]:
        return scores[dialect].has_known, scores[dialect].clean

    return max((plain, *possible), key=order)


def _first_lines(text: DelimitedText) -> list[str]:
    """Lines of the file's beginning, at least one that is not blank unless all are."""
    lines: list[str] = []
    chars = 0
    for block in text_blocks(text.file, text.encoding, text.line_end):
        lines += block.text.split(text.line_end)
        chars += len(block.text)
        if chars > MAX_ROW_CHARS or any(line.strip() for line in lines):
            break
    return lines


def _found_by_clevercsv(text: DelimitedText, lines: list[str], delimiters: list[str] | None) -> str:
    """The delimiter that clevercsv finds in whole rows of the file's beginning; if it finds none, the first possible.

    With `delimiters` None, any character that makes the header's fields names and all rows as wide.
    """
    from clevercsv import Detector  # takes half a second to import, for files that are seldom seen

    fallback = delimiters[0] if delimiters else DELIMITERS[0]
    sample = _whole_rows(text, lines, Dialect(fallback))
    try:
        found = Detector().detect(sample, delimiters=delimiters)
    except Exception:
        return fallback
    mark = found.delimiter if found is not None else None
    if mark is None or len(mark) != 1:
        return fallback
    if delimiters is not None:
        return mark if mark in delimiters else fallback
    if mark.isalnum() or mark in "_-./\\ \"'":
        return fallback
    score = _score(text, Dialect(mark), ())
    return mark if score.width > 1 and score.clean > _MIN_CLEAN else fallback


def _whole_rows(text: DelimitedText, lines: list[str], dialect: Dialect) -> str:
    """As many whole rows as clevercsv judges in short time; at least the header and one row."""
    ends: list[int] = []
    for row in islice(text.parser(dialect).rows(), 2, _SAMPLE_ROWS):
        if ends and sum(len(line) + 1 for line in lines[text.first : row.line - 1]) > _CLEVERCSV_CHARS:
            break
        ends.append(row.line - 1)
    chosen = lines[text.first : ends[-1]] if ends else lines[text.first :]
    return "\n".join(chosen)[: 4 * _CLEVERCSV_CHARS] + "\n"
