"""Reader for the Fashion Product layout: `styles.csv` with ten known columns, and `images/<id>.jpg`.

The published catalogue has rows with unquoted commas in the product name, rows without a picture, fields that are empty
or `NA`, and a year written as 2014.0. All of these are handled and reported. Pictures are not opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vitrine.catalogs.columns import known, read_year
from vitrine.catalogs.model import Catalog, CatalogBuilder
from vitrine.catalogs.picture_index import PictureIndex
from vitrine.catalogs.table import Row, Table, read_table
from vitrine.errors import CatalogMalformed
from vitrine.products import AttributeKind, AttributeValue

CSV_NAME: Final = "styles.csv"
PICTURE_FOLDER: Final = "images"
ID_COLUMN: Final = "id"
NAME_COLUMN: Final = "productDisplayName"
# CSV column -> attribute
COLUMNS: Final = {
    "gender": "gender",
    "masterCategory": "masterCategory",
    "subCategory": "subCategory",
    "articleType": "articleType",
    "baseColour": "baseColour",
    "season": "season",
    "year": "year",
    "usage": "usage",
    NAME_COLUMN: "name",
}
_KINDS: Final = dict.fromkeys(COLUMNS.values(), AttributeKind.KEYWORD) | {
    "year": AttributeKind.INTEGER,
    "name": AttributeKind.TEXT,
}


def read_fashion_product(root: Path, *, dataset: str, reader: str, limit: int | None = None) -> Catalog:
    """Read the catalogue below `root`, which is absolute and free of links, up to `limit` products.

    Raises CatalogNotFound if there is no styles.csv, CatalogRootRefused if it is a link out of the root, and
    CatalogMalformed if there is no id column or no usable row.
    """
    table = read_table(root / CSV_NAME, root=root, known_columns=(ID_COLUMN,))
    if ID_COLUMN not in table.header:
        raise CatalogMalformed(
            f"{table.path} has no column 'id'; its first line must name the columns, "
            f"for instance {','.join((ID_COLUMN, *COLUMNS))}"
        )
    builder = CatalogBuilder(dataset=dataset, reader=reader, root=root, limit=limit)
    for name in COLUMNS:
        if name not in table.header:
            builder.issue("missing_column", name, line=1)
    for name in table.header:
        if name not in COLUMNS and name != ID_COLUMN:
            builder.issue("unknown_column", name[:80], line=1)
    pictures = PictureIndex(root)
    for row in table.rows():
        if builder.is_full:
            break
        builder.rows += 1
        _take(row, table, pictures, builder)
    for attribute, kind in _KINDS.items():
        if any(attribute in product.attributes for product in builder.products):
            builder.kinds[attribute] = kind
    return builder.catalog(table.path)


def _take(row: Row, table: Table, pictures: PictureIndex, builder: CatalogBuilder) -> None:
    fitted = table.fitted(row, name_column=NAME_COLUMN)
    if fitted is None:
        builder.issue("unreadable_row", "the row has too many fields or is too long", line=row.line)
        return
    fields = dict(zip(table.header, fitted, strict=False))
    product_id = fields.get(ID_COLUMN, "").strip()
    if not builder.id_is_usable(product_id, row.line):
        return
    found, picture = pictures.find_stem(PICTURE_FOLDER, product_id)
    if not builder.picture_is_usable(found, product_id, row.line, picture or f"{PICTURE_FOLDER}/{product_id}.jpg"):
        return
    builder.row_issues(row, len(table.header), product_id)
    builder.add(product_id, picture, _attributes(fields, product_id, row.line, builder))


def _attributes(
    fields: dict[str, str], product_id: str, line: int, builder: CatalogBuilder
) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    empty = []
    for column, attribute in COLUMNS.items():
        if column not in fields:
            continue
        text = known(fields[column])
        if text is None:
            empty.append(column)
        elif attribute != "year":
            attributes[attribute] = text
        elif (year := read_year(text)) is None:
            builder.issue("bad_year", repr(text[:40]), product_id=product_id, line=line)
        else:
            attributes["year"] = year
            if str(year) != text:
                builder.issue("repaired_year", f"{text!r} read as {year}", product_id=product_id, line=line)
    if empty:
        builder.issue("empty_field", ", ".join(empty), product_id=product_id, line=line)
    return attributes
