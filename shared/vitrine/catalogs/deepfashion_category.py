"""Reader for the DeepFashion benchmark of category and attribute prediction: three lists and a tree of pictures.

`list_category_cloth.txt` names the categories, `list_category_img.txt` gives the category number of each picture, and
`list_eval_partition.txt` its partition. Every picture is a product, with the article type of the Fashion Product
catalogue that its category corresponds to. Pictures are not opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vitrine.catalogs.deepfashion_lists import (
    BenchmarkPictures,
    ListFile,
    PictureIds,
    article_type,
    below_listed_folder,
    file_stem,
    find_list,
    open_list,
)
from vitrine.catalogs.model import Catalog, CatalogBuilder
from vitrine.catalogs.table import Row
from vitrine.products import AttributeValue

ANNOTATION_FOLDERS: Final = ("Anno_coarse", "Anno")
PARTITION_FOLDERS: Final = ("Eval", *ANNOTATION_FOLDERS)
CATEGORY_LIST: Final = "list_category_cloth.txt"
PICTURE_LIST: Final = "list_category_img.txt"
PARTITION_LIST: Final = "list_eval_partition.txt"
MASTER_CATEGORY: Final = "Apparel"
# A dictionary, so that 290,000 pictures share three strings.
PARTITIONS: Final = {"train": "train", "val": "val", "test": "test"}
_SHOWN_CHARS: Final = 80


@dataclass(frozen=True, slots=True)
class _Category:
    """A category; `article` as from `article_type`."""

    name: str
    article: str | None


@dataclass(frozen=True, slots=True)
class _Partitions:
    """The partition of each picture, and the issue (kind, detail, line) of pictures without a valid one."""

    parts: dict[str, str] = field(default_factory=dict)
    issues: dict[str, tuple[str, str, int]] = field(default_factory=dict)


def read_deepfashion_category(root: Path, *, dataset: str, reader: str, limit: int | None = None) -> Catalog:
    """Read the catalogue below `root`, which is absolute and free of links, up to `limit` products.

    Raises CatalogNotFound if one of the three lists is missing, CatalogRootRefused if one is a link out of the root,
    and CatalogMalformed if one has no header or no row is usable.
    """
    categories_at = find_list(root, ANNOTATION_FOLDERS, CATEGORY_LIST)
    pictures_at = find_list(root, ANNOTATION_FOLDERS, PICTURE_LIST)
    partitions_at = find_list(root, PARTITION_FOLDERS, PARTITION_LIST)
    listed = open_list(pictures_at, root=root, columns=("image_name", "category_label"))
    builder = CatalogBuilder(dataset=dataset, reader=reader, root=root, limit=limit)
    categories = _read_categories(
        open_list(categories_at, root=root, columns=("category_name", "category_type")), builder
    )
    partitions = _read_partitions(
        open_list(partitions_at, root=root, columns=("image_name", "evaluation_status")), builder
    )
    pictures, ids = BenchmarkPictures(root), PictureIds()
    for row in listed.rows():
        if builder.is_full:
            break
        builder.rows += 1
        _take(row, categories, partitions, pictures, ids, builder)
    else:
        listed.check_count(builder.rows, builder)
    return builder.catalog(listed.path)


def _read_categories(listed: ListFile, builder: CatalogBuilder) -> list[_Category]:
    """The categories in the order of their numbers, from 1."""
    categories: list[_Category] = []
    for row in listed.rows():
        name = row.fields[0] if row.fields else ""
        if row.fields is None or len(row.fields) < len(listed.columns):
            builder.issue("short_row", f"{CATEGORY_LIST}: {name[:_SHOWN_CHARS]!r} has no type", line=row.line)
        if not row.is_utf8:
            builder.issue("bad_encoding", f"{CATEGORY_LIST}: read as Windows-1252", line=row.line)
        categories.append(_Category(name, article_type("category-prediction", name)))
    listed.check_count(len(categories), builder)
    return categories


def _read_partitions(listed: ListFile, builder: CatalogBuilder) -> _Partitions:
    partitions, rows = _Partitions(), 0
    for row in listed.rows():
        rows += 1
        path, word = (*(row.fields or ()), "", "")[:2]
        below = below_listed_folder(path)
        if below in partitions.parts or below in partitions.issues:
            builder.issue("repeated_row", f"{PARTITION_LIST}: {path[:_SHOWN_CHARS]}", line=row.line)
        elif known := PARTITIONS.get(word.lower()):
            partitions.parts[below] = known
        elif word:
            detail = f"{PARTITION_LIST}: {word[:_SHOWN_CHARS]!r}"
            partitions.issues[below] = ("unknown_partition", detail, row.line)
        else:
            partitions.issues[below] = ("short_row", f"{PARTITION_LIST}: 1 of 2 fields", row.line)
    listed.check_count(rows, builder)
    return partitions


def _take(
    row: Row,
    categories: list[_Category],
    partitions: _Partitions,
    pictures: BenchmarkPictures,
    ids: PictureIds,
    builder: CatalogBuilder,
) -> None:
    if row.fields is None:
        builder.issue("unreadable_row", "the row is too long", line=row.line)
        return
    path, number = (*row.fields, "")[:2]
    below = below_listed_folder(path)
    folder, _, file = below.rpartition("/")
    stem = file_stem(file)
    product_id = ids.for_picture(below, f"{folder.replace('/', '--')}--{stem}" if folder else stem)
    if not builder.id_is_usable(product_id, row.line):
        return
    found, picture = pictures.find(below)
    if not builder.picture_is_usable(found, product_id, row.line, path):
        return
    builder.row_issues(row, 2, product_id)
    attributes: dict[str, AttributeValue] = {"masterCategory": MASTER_CATEGORY}
    if number:
        attributes |= _kind(number, categories, product_id, row.line, builder)
    if part := partitions.parts.get(below):
        attributes["partition"] = part
    else:
        unlisted = ("empty_field", f"partition: not in {PARTITION_LIST}", row.line)
        kind, detail, line = partitions.issues.get(below, unlisted)
        builder.issue(kind, detail, product_id=product_id, line=line)
    if folder:
        attributes["name"] = folder.rpartition("/")[2].replace("_", " ")
    builder.add(product_id, picture, attributes)


def _kind(
    number: str, categories: list[_Category], product_id: str, line: int, builder: CatalogBuilder
) -> dict[str, AttributeValue]:
    """The category and article type of a category number, if they are known."""
    at = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
    if not 0 < at <= len(categories) or not categories[at - 1].name:
        detail = f"{number[:_SHOWN_CHARS]!r} of {len(categories)} categories"
        builder.issue("unknown_category", detail, product_id=product_id, line=line)
        return {}
    category = categories[at - 1]
    kind: dict[str, AttributeValue] = {"category": category.name}
    if category.article is None:
        builder.issue("unknown_category", repr(category.name[:_SHOWN_CHARS]), product_id=product_id, line=line)
    elif category.article:
        kind["articleType"] = category.article
    return kind
