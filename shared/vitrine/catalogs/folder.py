"""Reader for any folder of pictures with one CSV whose columns are attributes.

The CSV is `products.csv`, `styles.csv` or the folder's only CSV. The id is the column `id`, `product_id` or `sku`, else
the picture's file name without suffix. The picture is the column `image`, `picture`, `file`, `filename` or `path` (a
path or link, see `PictureIndex.lookup`), else the picture is named after the id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vitrine.catalogs.columns import ColumnTyper, TypedColumn, attribute_names, kinds_of, known, renaming, typed_columns
from vitrine.catalogs.model import Catalog, CatalogBuilder
from vitrine.catalogs.picture_index import PictureIndex, stem_of
from vitrine.catalogs.table import Row, Table, read_table
from vitrine.errors import CatalogMalformed, CatalogNotFound
from vitrine.products import AttributeValue

CSV_NAMES: Final = ("products.csv", "styles.csv")
ID_COLUMNS: Final = ("id", "product_id", "sku")
PICTURE_COLUMNS: Final = ("image", "picture", "file", "filename", "path")
_LISTED_NAMES: Final = 10


@dataclass(frozen=True, slots=True)
class _Columns:
    """The position of each column. An index is None if the table has no such column."""

    id_at: int | None
    picture_at: int | None
    attributes: tuple[tuple[int, str, str], ...]  # index, column, attribute
    name_column: str | None


def read_folder(
    root: Path, *, dataset: str, reader: str, limit: int | None = None, mapping: Mapping[str, str] | None = None
) -> Catalog:
    """Read the catalogue below `root`, which is absolute and free of links, up to `limit` products.

    Raises CatalogNotFound if there is no CSV, CatalogRootRefused if it is a link out of the root, and CatalogMalformed
    if there are several CSV files, no column identifies the products, or no row is usable.
    """
    table = read_table(_csv_path(root), root=root, known_columns=(*ID_COLUMNS, *PICTURE_COLUMNS))
    builder = CatalogBuilder(dataset=dataset, reader=reader, root=root, limit=limit, mapping=mapping)
    columns = _columns(table, builder)
    rows = [(row, table.fitted(row, name_column=columns.name_column)) for row in table.rows()]
    typers = [(index, ColumnTyper(attribute, column)) for index, column, attribute in columns.attributes]
    for row, fields in rows:
        for index, typer in typers:
            if fields is not None and index < len(fields):
                typer.add(fields[index], row.line)
    typed = tuple(zip((index for index, _ in typers), typed_columns(typer for _, typer in typers), strict=True))
    pictures = PictureIndex(root)
    for row, fields in rows:
        if builder.is_full:
            break
        builder.rows += 1
        if fields is None:
            builder.issue("unreadable_row", "the row has too many fields or is too long", line=row.line)
        else:
            _take(row, fields, len(table.header), columns, typed, pictures, builder)
    return replace(builder.catalog(table.path), kinds=kinds_of([column for _, column in typed]))


def _csv_path(root: Path) -> Path:
    for name in CSV_NAMES:
        if (root / name).is_file():
            return root / name
    found = sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv" and path.is_file())
    if not found:
        raise CatalogNotFound(f"there is no CSV in {root}; a catalogue needs products.csv with one row per product")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:_LISTED_NAMES])
        raise CatalogMalformed(f"{root} has several CSV files ({names}); name the right one products.csv")
    return found[0]


def _columns(table: Table, builder: CatalogBuilder) -> _Columns:
    id_at = _column(table.header, ID_COLUMNS)
    picture_at = _column(table.header, PICTURE_COLUMNS)
    if id_at is None and picture_at is None:
        raise CatalogMalformed(
            f"{table.path} has neither an id column ({', '.join(ID_COLUMNS)}) "
            f"nor a picture column ({', '.join(PICTURE_COLUMNS)})"
        )
    others = [(index, name) for index, name in enumerate(table.header) if index not in (id_at, picture_at)]
    names = attribute_names(name for _, name in others)
    first_of: dict[str, int] = {}
    for index, name in others:
        if name in first_of:
            builder.issue("unknown_column", f"{name[:80]} occurs twice, the first one is used", line=1)
            continue
        first_of[name] = index
        if names[name] != name:
            builder.issue("renamed_column", renaming(name, names[name]), line=1)
    attributes = tuple((index, name, names[name]) for name, index in first_of.items())
    name_column = next((name for _, name, attribute in attributes if attribute == "name"), None)
    return _Columns(id_at, picture_at, attributes, name_column)


def _column(header: Sequence[str], wanted: Sequence[str]) -> int | None:
    lowered = [name.lower() for name in header]
    return next((lowered.index(name) for name in wanted if name in lowered), None)


def _take(
    row: Row,
    fields: Sequence[str],
    width: int,
    columns: _Columns,
    typed: Sequence[tuple[int, TypedColumn]],
    pictures: PictureIndex,
    builder: CatalogBuilder,
) -> None:
    wanted = _field(fields, columns.picture_at)
    product_id = _field(fields, columns.id_at) if columns.id_at is not None else stem_of(wanted)
    if not builder.id_is_usable(product_id, row.line):
        return
    found = pictures.lookup(wanted if columns.picture_at is not None else product_id)
    if not builder.picture_is_usable(found, product_id, row.line, wanted or product_id):
        return
    builder.row_issues(row, width, product_id)
    builder.add(product_id, found.picture, _attributes(fields, typed, product_id, row.line, builder))


def _field(fields: Sequence[str], index: int | None) -> str:
    return fields[index].strip() if index is not None and index < len(fields) else ""


def _attributes(
    fields: Sequence[str],
    typed: Sequence[tuple[int, TypedColumn]],
    product_id: str,
    line: int,
    builder: CatalogBuilder,
) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    empty = []
    for index, column in typed:
        if index >= len(fields) or column.put(fields[index], attributes):
            continue
        text = known(fields[index])
        if text is None:
            empty.append(column.column)
        else:
            builder.issue("bad_year", repr(text[:40]), product_id=product_id, line=line)
    if empty:
        builder.issue("empty_field", ", ".join(empty), product_id=product_id, line=line)
    return attributes
