"""Reader for any folder of pictures, with a table of products or without one. The columns show the layout.

A table's ids, pictures and attributes are found by the usual names of columns, or by those that the caller names; see
`layouts`. Without a table, the pictures in folders are the products.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vitrine.catalogs.advice import check_roles, why_no_product
from vitrine.catalogs.assemble import Assembler
from vitrine.catalogs.downloads import KeepsLink, no_link
from vitrine.catalogs.layouts import folders
from vitrine.catalogs.layouts.image_folder import ImageFolder
from vitrine.catalogs.model import Catalog, CatalogBuilder, ColumnReport, Reading
from vitrine.catalogs.picture_index import PictureIndex
from vitrine.catalogs.references import PictureNames
from vitrine.catalogs.table_choice import TABLE_LAYOUTS, choose_tables

# The layouts that can be named as a reader.
LAYOUTS: Final = (*TABLE_LAYOUTS, folders.NAME)


def read_folder(
    root: Path,
    *,
    dataset: str,
    reader: str,
    limit: int | None = None,
    mapping: Mapping[str, str] | None = None,
    keeps_link: KeepsLink = no_link,
) -> Catalog:
    """Read the catalogue below `root`, which is absolute and free of links, up to `limit` products.

    A link without a file below the root is a picture too if `keeps_link` accepts it.
    Raises CatalogNotFound if there is nothing to read, CatalogRootRefused if the table is a link out of the root,
    CatalogMalformed if several tables fit equally, no column identifies the products, or no row is usable, and
    ParameterInvalid if the mapping names a column that the table does not have.
    """
    mapping = mapping or {}
    builder = CatalogBuilder(dataset=dataset, reader=reader, root=root, limit=limit, mapping=mapping)
    tables = [] if reader == folders.NAME else choose_tables(root, reader, mapping)
    if not tables:
        folders.read_pictures(builder, root, PictureIndex(root))
        columns = tuple(ColumnReport(name, "the folder", kind) for name, kind in builder.kinds.items())
        return builder.catalog(
            root,
            reading=Reading(folders.NAME, columns=columns),
            why_none=lambda: why_no_product(None, None, builder.issues, builder.rows, root, missing_links=0),
        )
    table, layout = tables[0]
    for one, its_layout in tables:
        check_roles(one, its_layout, root)
    splits = [(one, its_layout) for one, its_layout in tables if isinstance(its_layout, ImageFolder)]
    names = PictureNames(name for one, split in splits for name in split.file_names(one))
    for _, split in splits:
        split.share_names(names)
    assembler = Assembler(builder, tables, root, keeps_link=keeps_link)
    assembler.run()
    return builder.catalog(
        table.path,
        reading=Reading(layout.name, tuple((one.path, one.found) for one, _ in tables), layout.used, assembler.reports),
        why_none=lambda: why_no_product(
            table, layout, builder.issues, builder.rows, root, missing_links=assembler.missing_links
        ),
    )
