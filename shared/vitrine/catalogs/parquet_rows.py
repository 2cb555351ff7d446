"""Read products from Parquet, some thousand at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any, Final

from vitrine.catalogs.records import MAX_COLUMNS, Record, RecordTable, as_text, record_table
from vitrine.catalogs.table_files import Row, TableFile
from vitrine.errors import CatalogMalformed

_BATCH_ROWS: Final = 4096


def parquet_table(file: TableFile) -> tuple[tuple[str, ...], Callable[[], Iterator[Row]]]:
    """The columns and the rows of a Parquet file. `line` is the number of the row, from 1.

    Members of structures become columns of their own, as in JSON. Raises CatalogMalformed.
    """
    import pyarrow.types as kinds  # takes half a second to import, for files that are seldom seen

    with _opened(file) as parquet:
        schema = parquet.schema_arrow
    names = tuple(schema.names)
    if not names or len(names) > MAX_COLUMNS:
        raise CatalogMalformed(f"{file.path} has {len(names):,} columns; a table has 1 to {MAX_COLUMNS:,}")
    nested = any(
        kinds.is_struct(one.type) or (_is_list(one.type) and kinds.is_nested(one.type.value_type)) for one in schema
    )
    if nested:
        table: RecordTable = record_table(file.path, lambda: _records(file))
        return table.header, table.rows
    return names, lambda: _rows(file)


def pictures_inside(file: TableFile) -> str:
    """What to do if the table has pictures themselves instead of their names; empty if it has none."""
    for columns, names in _batches(file, rows=1):
        for name, (value, *_) in zip(names, columns, strict=True):
            is_structure = isinstance(value, dict)
            inner = value.get("bytes") if is_structure else value
            if not isinstance(inner, bytes) or _text_of(inner) is not None:
                continue
            member = "['bytes']" if is_structure else ""
            return (
                f"the column {name[:80]!r} has the pictures themselves, and pictures are read from files. Write them "
                f'as files, in the folder of the table: python -c "import pandas; '
                f"t = pandas.read_parquet('{file.path.name}'); t['file_name'] = [f'{{n}}.jpg' for n in range(len(t))]; "
                f"[open(f, 'wb').write(p{member}) for f, p in "
                f"zip(t['file_name'], t['{name}'])]; t.drop(columns='{name}').to_csv('metadata.csv', index=False)\""
            )
        break
    return ""


def _is_list(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _rows(file: TableFile) -> Iterator[Row]:
    number = 0
    for columns, _ in _batches(file):
        texts = [[value if type(value) is str else as_text(_plain(value)) for value in column] for column in columns]
        for fields in zip(*texts, strict=True):
            number += 1
            yield Row(number, list(fields))


def _records(file: TableFile) -> Iterator[Record]:
    number = 0
    for columns, names in _batches(file):
        for values in zip(*columns, strict=True):
            number += 1
            yield Record(number, dict(zip(names, map(_plain, values), strict=True)))


def _batches(file: TableFile, *, rows: int = _BATCH_ROWS) -> Iterator[tuple[list[list[Any]], list[str]]]:
    """The values of each column, and the names of the columns, for some thousand rows at a time."""
    import pyarrow as pa

    with _opened(file) as parquet:
        for batch in parquet.iter_batches(batch_size=rows):
            columns = []
            for column in batch.columns:
                # Python's datetime has microseconds; nanoseconds would become objects of pandas.
                has_nanoseconds = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
                kind = pa.timestamp("us", column.type.tz) if has_nanoseconds else column.type
                columns.append(column.cast(kind, safe=False).to_pylist())
            yield columns, batch.schema.names


@contextmanager
def _opened(file: TableFile) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as source, pq.ParquetFile(source) as parquet:
            yield parquet
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0][:200]
        raise CatalogMalformed(f"{file.path} cannot be read as Parquet ({reason}); write it again") from error


def _plain(value: Any) -> Any:
    """The value as JSON has it; dates in ISO 8601, and no bytes: pictures in a table are not read."""
    if isinstance(value, datetime):
        at_midnight = value.tzinfo is None and value.time() == time()
        return value.date().isoformat() if at_midnight else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, bytes):
        return _text_of(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def _text_of(value: bytes) -> str | None:
    try:
        return value.decode() if len(value) <= 10_000 and b"\0" not in value else None
    except UnicodeDecodeError:
        return None
