"""Reader for the DeepFashion benchmark of in-shop retrieval: a list of pictures with their items, and the pictures.

Every picture is a product, because a query is one picture and its relevant results are the other pictures of its item.
Gender and category come from the path `img/WOMEN/Dresses/id_00000002/02_1_front.jpg`, the view from the file name.
Pictures are not opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from vitrine.catalogs.deepfashion_lists import (
    BenchmarkPictures,
    PictureIds,
    article_type,
    below_listed_folder,
    file_stem,
    find_list,
    open_list,
)
from vitrine.catalogs.model import Catalog, CatalogBuilder
from vitrine.catalogs.table import Row
from vitrine.errors import CatalogNotFound
from vitrine.products import AttributeValue

ANNOTATION_FOLDERS: Final = ("Anno",)
PARTITION_FOLDERS: Final = ("Eval", *ANNOTATION_FOLDERS)
PARTITION_LIST: Final = "list_eval_partition.txt"
ITEM_LIST: Final = "list_item_inshop.txt"
COLUMNS: Final = ("image_name", "item_id", "evaluation_status")
MASTER_CATEGORY: Final = "Apparel"
GENDERS: Final = {"WOMEN": "Women", "MEN": "Men"}
# Dictionaries, so that 50,000 pictures share these strings.
PARTITIONS: Final = {"train": "train", "query": "query", "gallery": "gallery"}
VIEWS: Final = {view: view for view in ("front", "side", "back", "full", "additional", "flat")}
_PATH_PARTS: Final = 4
_SHOWN_CHARS: Final = 80

Report = Callable[[str, str], None]


class _Items:
    """The items of the optional list, and the unlisted items that were already reported."""

    def __init__(self, listed: set[str] | None) -> None:
        self._listed = listed
        self._reported: set[str] = set()

    def is_first_unlisted(self, item: str) -> bool:
        """Whether the item is not in the list, and this is the first call for it."""
        if self._listed is None or item in self._listed or item in self._reported:
            return False
        self._reported.add(item)
        return True


def read_deepfashion_inshop(root: Path, *, dataset: str, reader: str, limit: int | None = None) -> Catalog:
    """Read the catalogue below `root`, which is absolute and free of links, up to `limit` products.

    Raises CatalogNotFound if the list of partitions is missing, CatalogRootRefused if a list is a link out of the root,
    and CatalogMalformed if the list has no header or no usable row.
    """
    listed = open_list(find_list(root, PARTITION_FOLDERS, PARTITION_LIST), root=root, columns=COLUMNS)
    builder = CatalogBuilder(dataset=dataset, reader=reader, root=root, limit=limit)
    items = _Items(_read_items(root, builder))
    pictures, ids = BenchmarkPictures(root), PictureIds()
    for row in listed.rows():
        if builder.is_full:
            break
        builder.rows += 1
        _take(row, items, pictures, ids, builder)
    else:
        listed.check_count(builder.rows, builder)
    return builder.catalog(listed.path)


def _read_items(root: Path, builder: CatalogBuilder) -> set[str] | None:
    try:
        path = find_list(root, ANNOTATION_FOLDERS, ITEM_LIST)
    except CatalogNotFound:  # the list is optional
        return None
    listed = open_list(path, root=root, columns=("item_id",), has_header=False)
    items: set[str] = set()
    rows = 0
    for row in listed.rows():
        rows += 1
        items.update(row.fields or ())
    listed.check_count(rows, builder)
    return items


def _take(row: Row, items: _Items, pictures: BenchmarkPictures, ids: PictureIds, builder: CatalogBuilder) -> None:
    if row.fields is None:
        builder.issue("unreadable_row", "the row is too long", line=row.line)
        return
    path, item, word = (*row.fields, "", "")[: len(COLUMNS)]
    below = below_listed_folder(path)
    folders, file = below.split("/")[:-1], below.rpartition("/")[2]
    folder = folders[-1] if folders else ""
    stem = file_stem(file)
    product_id = ids.for_picture(below, "--".join(part for part in (item or folder, stem) if part))
    if not builder.id_is_usable(product_id, row.line):
        return
    found, picture = pictures.find(below)
    if not builder.picture_is_usable(found, product_id, row.line, path):
        return
    builder.row_issues(row, len(COLUMNS), product_id)

    def report(kind: str, detail: str) -> None:
        builder.issue(kind, detail, product_id=product_id, line=row.line)

    attributes = _attributes_of_path(folders, report)
    if item:
        attributes["itemId"] = item
        if folder != item:
            report("unusual_path", f"the folder is {folder[:_SHOWN_CHARS]!r}, the item {item[:_SHOWN_CHARS]!r}")
        if items.is_first_unlisted(item):
            report("unlisted_item", f"{item[:_SHOWN_CHARS]} is not in {ITEM_LIST}")
    if view := VIEWS.get(stem.rpartition("_")[2].lower()):
        attributes["view"] = view
    if part := PARTITIONS.get(word.lower()):
        attributes["partition"] = part
    elif word:
        report("unknown_partition", repr(word[:_SHOWN_CHARS]))
    builder.add(product_id, picture, attributes)


def _attributes_of_path(folders: list[str], report: Report) -> dict[str, AttributeValue]:
    """Gender, category and article type, if the path has them."""
    attributes: dict[str, AttributeValue] = {"masterCategory": MASTER_CATEGORY}
    if len(folders) != _PATH_PARTS - 1:
        report("unusual_path", "the path is not img/GENDER/Category/item/picture")
        return attributes
    gender, category, _ = folders
    if known := GENDERS.get(gender.upper()):
        attributes["gender"] = known
    else:
        report("unusual_path", f"{gender[:_SHOWN_CHARS]!r} is not a gender")
    article = article_type("in-shop", category)
    if article is None:
        report("unknown_category", repr(category[:_SHOWN_CHARS]))
    elif article:
        attributes["articleType"] = article
    if category:
        attributes["category"] = category
    return attributes
