"""Read the table of a catalogue, in whatever format it is, as rows of texts.

CSV with any usual delimiter, quoting, encoding and line end; JSON, JSON lines, Parquet, and Google Merchant XML; also
packed with gzip. What a file is follows from its content. Rows are read anew in each pass, so that types can be found
before products are made, and a large table is never in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitrine.catalogs.delimited import Dialect
from vitrine.catalogs.dialects import DELIMITERS, DelimitedText, find_dialect, header_of
from vitrine.catalogs.json_records import is_json, is_one_a_line, json_lines, json_list
from vitrine.catalogs.parquet_rows import parquet_table
from vitrine.catalogs.records import RecordTable, record_table
from vitrine.catalogs.table_files import (
    MAX_ROW_CHARS,
    Row,
    TableFile,
    TableFormat,
    check_file,
    checked_file,
    open_checked,
)
from vitrine.catalogs.text_encoding import TextEncoding, decoded, find_encoding
from vitrine.catalogs.xml_records import is_xml, xml_records
from vitrine.errors import CatalogMalformed

__all__ = [
    "DELIMITERS",
    "MAX_ROW_CHARS",
    "TABLE_SUFFIXES",
    "Row",
    "Table",
    "TableFormat",
    "check_file",
    "decoded",
    "is_table_name",
    "open_checked",
    "read_table",
]

# Names of files that may be tables. What a file is follows from its content alone.
TABLE_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".xml")
_DELIMITER_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the names of its columns, without blanks around them, and its rows.

    `encoding` is the name that is shown; None for Parquet. `delimiter` is None unless the format is CSV.
    """

    path: Path
    header: tuple[str, ...]
    format: TableFormat
    encoding: str | None
    delimiter: str | None
    _rows: Callable[[], Iterator[Row]]

    @property
    def found(self) -> str:
        """What the file is: `CSV, comma, UTF-8`."""
        delimiter = None if self.delimiter is None else _DELIMITER_NAMES.get(self.delimiter, repr(self.delimiter))
        return ", ".join(part for part in (self.format, delimiter, self.encoding) if part)

    @property
    def place(self) -> str:
        """What `Row.line` counts: `line`, or `product` in formats without lines."""
        return "product" if self.format in (TableFormat.PARQUET, TableFormat.XML) else "line"

    def rows(self) -> Iterator[Row]:
        """The rows after the header, without blank ones, each time from the beginning.

        Raises CatalogMalformed if the file was changed since it was opened, or if it turns out to be broken: JSON or
        XML that ends in the middle, or a CSV in which far too many quotation marks are never closed.
        """
        return self._rows()

    def fitted(self, row: Row, *, name_column: str | None) -> list[str] | None:
        """The row's fields, at most as many as the header has, or None if there are too many.

        Extra fields come from unquoted delimiters in free text. They are joined to the last column if that is
        `name_column`, the column of free text.
        """
        fields, width = row.fields, len(self.header)
        if fields is None or len(fields) <= width:
            return fields
        if self.header[-1] != name_column or self.delimiter is None:
            return None
        return [*fields[: width - 1], self.delimiter.join(fields[width - 1 :])]


def is_table_name(name: str) -> bool:
    """Whether a file of this name may be a table."""
    return name.lower().removesuffix(".gz").endswith(TABLE_SUFFIXES)


def read_table(path: Path, *, root: Path, known_columns: Collection[str] = ()) -> Table:
    """Open a table that must be inside `root` after links are resolved.

    A delimiter that gives a header with a known column (`known_columns`, lower case) is preferred, and titles above
    such a header are skipped. Raises CatalogNotFound, CatalogRootRefused for a link out of the root, and
    CatalogMalformed if the file is empty, too large, has no header, or is not a table.
    """
    file = checked_file(path, root=root)
    if file.head.startswith(b"PAR1"):
        header, rows = parquet_table(file)
        return Table(path, header, TableFormat.PARQUET, None, None, rows)
    if is_xml(file.head):
        return _of_records(file, TableFormat.XML, None, record_table(path, lambda: xml_records(file)))
    encoding = find_encoding(file)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if is_json(file.head, encoding, suffix):
        if is_one_a_line(file, encoding, suffix):
            records = record_table(path, lambda: json_lines(file, encoding))
            return _of_records(file, TableFormat.JSON_LINES, encoding, records)
        return _of_records(file, TableFormat.JSON, encoding, record_table(path, lambda: json_list(file, encoding)))
    if suffix in (".json", ".jsonl", ".ndjson", ".xml", ".parquet"):
        raise CatalogMalformed(f"{path} is not {suffix[1:].upper()}: it begins with {file.head[:20]!r}")
    return _delimited(file, encoding, known_columns)


def _of_records(file: TableFile, form: TableFormat, encoding: TextEncoding | None, table: RecordTable) -> Table:
    return Table(file.path, table.header, form, encoding.name if encoding else None, None, table.rows)


def _delimited(file: TableFile, encoding: TextEncoding, known_columns: Collection[str]) -> Table:
    text, dialect = find_dialect(file, encoding, known_columns)
    first = next(text.parser(dialect).rows(), None)
    header = header_of(first)
    full_width = len(first.fields) if first is not None and first.fields is not None else 1
    return Table(
        file.path,
        header,
        TableFormat.DELIMITED,
        encoding.name,
        dialect.delimiter,
        lambda: _rows(text, dialect, full_width, len(header)),
    )


def _rows(text: DelimitedText, dialect: Dialect, full_width: int, width: int) -> Iterator[Row]:
    """The rows after the header. Fields of unnamed columns at the end are left out."""
    parser = text.parser(dialect)
    rows = parser.rows()
    next(rows, None)
    parser.width = full_width
    if width == full_width:
        return rows
    return (
        row._replace(fields=row.fields[:width]) if row.fields is not None and len(row.fields) <= full_width else row
        for row in rows
    )
