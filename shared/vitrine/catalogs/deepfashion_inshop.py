"""The DeepFashion benchmark for in-shop retrieval: a list of pictures with their items, and a tree of pictures.

Every picture is a product, since a query is one picture and its answer is the other pictures of its item. Gender and
category come from the path `img/WOMEN/Dresses/id_00000002/02_1_front.jpg`, the view from the file's name. What is wrong
in a row costs at most that row. Pictures are looked for, not opened.
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
from vitrine.catalogs.model import Catalog, Harvest
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
# Dictionaries, so that fifty thousand pictures share these strings.
PARTITIONS: Final = {"train": "train", "query": "query", "gallery": "gallery"}
VIEWS: Final = {view: view for view in ("front", "side", "back", "full", "additional", "flat")}
_PATH_PARTS: Final = 4
_SHOWN_CHARS: Final = 80

Tell = Callable[[str, str], None]


class _Items:
    """The items that the optional list has, and those missing there that were told already."""

    def __init__(self, listed: set[str] | None) -> None:
        self._listed = listed
        self._told: set[str] = set()

    def is_news(self, item: str) -> bool:
        """Whether the list lacks the item and this is the first time it is asked for."""
        if self._listed is None or item in self._listed or item in self._told:
            return False
        self._told.add(item)
        return True


def read_deepfashion_inshop(root: Path, *, dataset: str, reader: str, limit: int | None = None) -> Catalog:
    """Read the catalogue below `root`, which is absolute and free of links; `limit` is the most products to read.

    Raises CatalogNotFound without the list of partitions, CatalogRootRefused where a list is a link out of the root,
    and CatalogMalformed where the list has no header or no usable row.
    """
    listed = open_list(find_list(root, PARTITION_FOLDERS, PARTITION_LIST), root=root, columns=COLUMNS)
    harvest = Harvest(dataset=dataset, reader=reader, root=root, limit=limit)
    items = _Items(_read_items(root, harvest))
    pictures, ids = BenchmarkPictures(root), PictureIds()
    for row in listed.rows():
        if harvest.is_full:
            break
        harvest.rows += 1
        _take(row, items, pictures, ids, harvest)
    else:
        listed.tell_count(harvest.rows, harvest)
    return harvest.catalog(listed.path)


def _read_items(root: Path, harvest: Harvest) -> set[str] | None:
    try:
        path = find_list(root, ANNOTATION_FOLDERS, ITEM_LIST)
    except CatalogNotFound:  # the benchmark can be read without it
        return None
    listed = open_list(path, root=root, columns=("item_id",), has_header=False)
    items: set[str] = set()
    rows = 0
    for row in listed.rows():
        rows += 1
        items.update(row.fields or ())
    listed.tell_count(rows, harvest)
    return items


def _take(row: Row, items: _Items, pictures: BenchmarkPictures, ids: PictureIds, harvest: Harvest) -> None:
    if row.fields is None:
        harvest.fault("unreadable_row", "the row is too long", line=row.line)
        return
    path, item, word = (*row.fields, "", "")[: len(COLUMNS)]
    below = below_listed_folder(path)
    folders, file = below.split("/")[:-1], below.rpartition("/")[2]
    folder = folders[-1] if folders else ""
    stem = file_stem(file)
    product_id = ids.for_picture(below, "--".join(part for part in (item or folder, stem) if part))
    if not harvest.id_is_usable(product_id, row.line):
        return
    found, picture = pictures.find(below)
    if not harvest.picture_is_usable(found, product_id, row.line, path):
        return
    harvest.row_faults(row, len(COLUMNS), product_id)

    def tell(kind: str, detail: str) -> None:
        harvest.fault(kind, detail, product_id=product_id, line=row.line)

    attributes = _told_by_path(folders, tell)
    if item:
        attributes["itemId"] = item
        if folder != item:
            tell("unusual_path", f"the folder is {folder[:_SHOWN_CHARS]!r}, the item {item[:_SHOWN_CHARS]!r}")
        if items.is_news(item):
            tell("unlisted_item", f"{item[:_SHOWN_CHARS]} is not in {ITEM_LIST}")
    if view := VIEWS.get(stem.rpartition("_")[2].lower()):
        attributes["view"] = view
    if part := PARTITIONS.get(word.lower()):
        attributes["partition"] = part
    elif word:
        tell("unknown_partition", repr(word[:_SHOWN_CHARS]))
    harvest.add(product_id, picture, attributes)


def _told_by_path(folders: list[str], tell: Tell) -> dict[str, AttributeValue]:
    """Gender, category and article type, as far as the path tells them."""
    attributes: dict[str, AttributeValue] = {"masterCategory": MASTER_CATEGORY}
    if len(folders) != _PATH_PARTS - 1:
        tell("unusual_path", "the path is not img/GENDER/Category/item/picture")
        return attributes
    gender, category, _ = folders
    if known := GENDERS.get(gender.upper()):
        attributes["gender"] = known
    else:
        tell("unusual_path", f"{gender[:_SHOWN_CHARS]!r} is no gender")
    article = article_type("in-shop", category)
    if article is None:
        tell("unknown_category", repr(category[:_SHOWN_CHARS]))
    elif article:
        attributes["articleType"] = article
    if category:
        attributes["category"] = category
    return attributes
