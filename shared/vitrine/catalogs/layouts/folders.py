"""The layout of folders of pictures without a table: the file's name is the id, its folders are its category."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from vitrine.catalogs.model import CatalogBuilder
from vitrine.catalogs.picture_index import PictureIndex
from vitrine.catalogs.references import PictureNames, is_picture_file
from vitrine.products import AttributeKind

NAME: Final = "pictures"
CATEGORY: Final = "category"
PATH_SEPARATOR: Final = " > "
# Folders whose name says nothing about what is in them.
_MEANINGLESS: Final = frozenset({"images", "image", "pictures", "photos", "imgs", "img", "data", "bilder", "fotos"})
# Written by operating systems and network drives beside the pictures.
_NOT_OURS: Final = frozenset({"__MACOSX", "@eaDir", "Thumbs.db"})


def picture_files(root: Path) -> Iterator[str]:
    """The pictures below a folder as relative paths, ordered; links to folders and hidden files are left out."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_OURS)
        below = Path(folder).relative_to(root)
        for name in sorted(files):
            if not name.startswith(".") and is_picture_file(name):
                yield (below / name).as_posix()


def read_pictures(builder: CatalogBuilder, root: Path, pictures: PictureIndex) -> None:
    """Make a product of each picture below the root."""
    files = list(picture_files(root))
    names = PictureNames(files)
    categories = [_category(file) for file in files]
    kind = AttributeKind.PATH if any(PATH_SEPARATOR in text for text in categories) else AttributeKind.KEYWORD
    for file, category in zip(files, categories, strict=True):
        if builder.is_full:
            break
        builder.rows += 1
        product_id = names.id_of(file)
        if not builder.id_is_usable(product_id, None):
            continue
        if builder.picture_is_usable(pictures.lookup(file), product_id, None, file):
            builder.add(product_id, file, {CATEGORY: category} if category else {})
    if any(categories):
        builder.kinds[CATEGORY] = kind


def _category(file: str) -> str:
    folders = list(PurePosixPath(file).parts[:-1])
    while folders and folders[0].casefold() in _MEANINGLESS:
        folders.pop(0)
    return PATH_SEPARATOR.join(folders)
