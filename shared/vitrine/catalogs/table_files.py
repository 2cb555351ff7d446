"""The file of a table: where it may be, how large, what it is by its first bytes, and the row that every reader gives.

Files are read from the disk in each pass and never held in memory as a whole. A file that changes between two passes
is refused, because types and products would come from different tables.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from vitrine.errors import CatalogMalformed, CatalogNotFound, CatalogRootRefused
from vitrine.safe_read import open_regular

MAX_TABLE_BYTES: Final = 4_000_000_000
MAX_ROW_CHARS: Final = 10_000_000
_HEAD_BYTES: Final = 4096


class TableFormat(StrEnum):
    """The format of a table's file, as it is shown."""

    DELIMITED = "CSV"
    JSON = "JSON"
    JSON_LINES = "JSON lines"
    PARQUET = "Parquet"
    XML = "XML feed"


class Row(NamedTuple):
    """One row.

    `line` is its first line in a file of text, and the number of the product in Parquet, from 1. `fields` is None if
    the row cannot be read. `is_utf8` is False if the row is not in the encoding of its table, which is then UTF-8, and
    was read as Windows-1252.
    """

    line: int
    fields: list[str] | None
    is_utf8: bool = True


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file that was checked by `checked_file`. `path` is what messages show."""

    path: Path
    resolved: Path
    size_bytes: int
    is_gzip: bool
    head: bytes
    _identity: tuple[int, int, int]

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file's content, unpacked. Raises CatalogMalformed if the file has changed, and CatalogNotFound."""
        with open_checked(self.resolved) as file:
            if _identity(file) != self._identity:
                raise CatalogMalformed(f"{self.path} was changed while it was read; read it again")
            if self.is_gzip:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield cast("BinaryIO", unpacked)
            else:
                yield file

    def blocks(self, size_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The content piece by piece. Raises CatalogMalformed if it is too large or cannot be unpacked."""
        total = 0
        try:
            with self.open() as file:
                while block := file.read(size_bytes):
                    total += len(block)
                    if total > MAX_TABLE_BYTES:
                        raise _too_large(self.path)
                    yield block
        except (gzip.BadGzipFile, EOFError) as error:
            raise CatalogMalformed(f"{self.path} cannot be unpacked ({error}); save or download it again") from error


def checked_file(path: Path, *, root: Path) -> TableFile:
    """The file of a table. Raises as `check_file` does, and CatalogMalformed if it is empty or not a table."""
    resolved = check_file(path, root=root)
    with open_checked(resolved) as file:
        identity = _identity(file)
        head = file.read(_HEAD_BYTES)
        is_gzip = head.startswith(b"\x1f\x8b")
        if is_gzip:
            file.seek(0)
            try:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    head = unpacked.read(_HEAD_BYTES)
            except (OSError, EOFError) as error:
                raise CatalogMalformed(f"{path} cannot be unpacked ({error}); save or download it again") from error
    if not head.strip():
        raise CatalogMalformed(f"{path} is empty; it needs a header line and one row per product")
    other = _other_format(head)
    if other is not None:
        raise CatalogMalformed(f"{path} is not a table but {other}")
    return TableFile(path, resolved, identity[1], is_gzip, head, identity)


def check_file(path: Path, *, root: Path) -> Path:
    """The path of a file, with its links resolved.

    Raises CatalogRootRefused for a link out of `root`, CatalogNotFound, and CatalogMalformed if the file is too large.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise CatalogRootRefused(f"{path} is a link out of the catalogue")
    if not resolved.is_file():
        raise CatalogNotFound(f"there is no {path.name} in {path.parent}")
    if resolved.stat().st_size > MAX_TABLE_BYTES:
        raise _too_large(path)
    return resolved


def open_checked(path: Path) -> BinaryIO:
    """Open a path from `check_file`. Raises CatalogNotFound if the file was replaced by a link or by something else."""
    try:
        return open_regular(path)
    except OSError as error:
        raise CatalogNotFound(f"{path} cannot be opened as a regular file") from error


def _identity(file: BinaryIO) -> tuple[int, int, int]:
    state = os.fstat(file.fileno())
    return state.st_ino, state.st_size, state.st_mtime_ns


def _too_large(path: Path) -> CatalogMalformed:
    return CatalogMalformed(
        f"{path} has more than {MAX_TABLE_BYTES:,} bytes; divide it into several catalogues, or leave out columns"
    )


_AS_CSV: Final = "save it as CSV UTF-8"
# The first bytes of formats that are not tables of text, and what to do.
_OTHER_FORMATS: Final = (
    (b"%PDF", "a PDF: export the products as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an Excel workbook (.xls): {_AS_CSV}"),
    (b"SQLite format 3\0", "an SQLite database: export the products as CSV"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"\xfd7zXZ\0", "an XZ archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it first"),
    (b"{\\rtf", f"an RTF document: {_AS_CSV}"),
    (b"ARROW1", "an Arrow (Feather) file: write it as Parquet or CSV"),
    (b"FEA1", "a Feather file: write it as Parquet or CSV"),
    (b"Obj\x01", "an Avro file: write it as Parquet or CSV"),
    (b"ORC", "an ORC file: write it as Parquet or CSV"),
)
# What names in a ZIP archive say about it.
_ZIP_FORMATS: Final = (
    (b"xl/", f"an Excel workbook: {_AS_CSV}"),
    (b"opendocument.spreadsheet", f"an OpenDocument spreadsheet: {_AS_CSV}"),
    (b"Index/", f"a Numbers document: {_AS_CSV}"),
    (b"word/", f"a Word document: {_AS_CSV}"),
)


def _other_format(head: bytes) -> str | None:
    """What a file is that cannot be read as a table, from its first bytes; None if it may be one."""
    if head.startswith(b"PK\x03\x04"):
        named = next((name for mark, name in _ZIP_FORMATS if mark in head), None)
        if named is None and b"[Content_Types].xml" in head:
            named = _ZIP_FORMATS[0][1]
        return named or "a ZIP archive: unpack it first"
    for mark, name in _OTHER_FORMATS:
        if head.startswith(mark) and (mark not in (b"ORC", b"BZh") or b"\0" in head):
            return name
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1000].lower()
    if start.startswith(b"<") and (start.startswith((b"<!doctype html", b"<html")) or b"<html" in start):
        return "an HTML page: export the products as CSV (a download may have ended at a page to sign in)"
    if b"urn:schemas-microsoft-com:office:spreadsheet" in start or b'progid="excel.sheet"' in start:
        return f"an Excel workbook (XML): {_AS_CSV}"
    if b"<table" in start and start.startswith((b"<table", b"<meta", b"<style")):
        return f"an HTML table, as some shops export for Excel: open it there and {_AS_CSV}"
    return None
