"""Finds the products that an indexing need not read: those whose point and whose picture files are as they were.

The point of a product records, beside the hash of each picture, the size and the time of change of its file. A picture
is not read again while its path, size and time of change (in nanoseconds) are all the same. A time is recorded only if
it is a while past when the file is read, because a change right after a read could have the same time. A file that is
replaced by another of the same size with the same time is therefore not noticed; an indexing with `full` reads all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from indexer.plan import PlannedProduct
from vitrine.catalogs.roots import resolve_picture
from vitrine.errors import CatalogError, PictureNotFound
from vitrine.kinds import convert_attributes, paths_member
from vitrine.products import ADDED_AT_FIELD, FILES_FIELD, AttributeKind, Product

# Longer than the steps in which file systems count time (2 s on FAT).
_SETTLED_NS: Final = 3_000_000_000
# Members of a payload that do not come from the catalogue's table.
_DERIVED: Final = frozenset({"picture_sha256", "pictures_sha256", ADDED_AT_FIELD, FILES_FIELD})


def marks_of(root: Path, paths: Sequence[str]) -> str | None:
    """The size and the time of change of each file, as text; None if one is not there or has only just changed."""
    marks = []
    latest_ns = time.time_ns() - _SETTLED_NS
    for path in paths:
        try:
            status = resolve_picture(root, path).stat()
        except (CatalogError, PictureNotFound, OSError):
            return None
        if status.st_mtime_ns > latest_ns:
            return None
        marks.append(f"{status.st_size}:{status.st_mtime_ns}")
    return ",".join(marks)


def unchanged_ids(
    planned: Sequence[PlannedProduct],
    stored: Mapping[str, Mapping[str, Any]],
    *,
    root: Path,
    kinds: Mapping[str, AttributeKind],
    several_pictures: bool,
    variants: bool = False,
) -> frozenset[str]:
    """The ids of the products whose stored payload is as an indexing would write it, going by the files' marks.

    `stored` has the payloads by point id. Products that were put through the API are never among them.
    `several_pictures`: whether the collection has all pictures of a product, and not only its face. `variants`: whether
    every product in it has the id that variants share.
    """
    found = set()
    for one in planned:
        product = one.product if several_pictures else replace(one.product, more_pictures=())
        if variants:
            product = replace(product, variant_of=product.variant_of or product.id)
        payload = stored.get(product.point_id)
        if one.origin == "catalog" and payload and _is_unchanged(product, payload, root=root, kinds=kinds):
            found.add(product.id)
    return frozenset(found)


def _is_unchanged(
    product: Product, stored: Mapping[str, Any], *, root: Path, kinds: Mapping[str, AttributeKind]
) -> bool:
    attributes, _ = convert_attributes(product.attributes, kinds)
    wanted = {
        **replace(product, attributes=attributes).payload(),
        **paths_member(attributes, kinds),
        "origin": "catalog",
    }
    if {name: value for name, value in stored.items() if name not in _DERIVED} != wanted:
        return False
    marks = stored.get(FILES_FIELD)
    return marks is not None and marks_of(root, product.pictures) == marks
