"""The layout of a Hugging Face image folder: `metadata.csv` or `.jsonl` with `file_name`, also one per split folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from vitrine.catalogs.layouts.entry import Entry, Source
from vitrine.catalogs.layouts.plain_table import PlainTable
from vitrine.catalogs.layouts.roles import ID_NAMES, Header, Roles, plain
from vitrine.catalogs.references import PictureNames, split_pictures
from vitrine.catalogs.table import Table

TABLE_STEM: Final = "metadata"
_SPLITS: Final = frozenset({"train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval"})
_SPLIT: Final = "split"


class ImageFolder(PlainTable):
    """One table of an image folder. Its file names are relative to its own folder, `below` the root."""

    name = "imagefolder"

    def __init__(self, table: Table, mapping: Mapping[str, str], *, root: Path) -> None:
        self.below = PurePosixPath(table.path.parent.relative_to(root).as_posix())
        super().__init__(table, mapping)
        self._splits = _SPLIT not in self._labels.values()

    @staticmethod
    def fits(header: Header, path: Path) -> bool:
        """Whether this is the metadata of an image folder."""
        return path.stem.casefold() == TABLE_STEM and any(_is_file_name(column) for column in header.columns)

    def usual_roles(self) -> Roles:
        roles = super().usual_roles()
        names = tuple(at for at, column in enumerate(self.header.columns) if _is_file_name(column))
        # Ids like `code` may be a class; without a column that says it is an id, the file names the product.
        id_at = self.header.at(*ID_NAMES[: ID_NAMES.index("itemid") + 1])
        return replace(roles, id_at=id_at, pictures_at=names or roles.pictures_at)

    @property
    def labels(self) -> Mapping[str, Source]:
        return {**super().labels, **({_SPLIT: Source("the folder", None)} if self._splits else {})}

    def entries(self, table: Table) -> Iterator[Entry]:
        for entry in super().entries(table):
            entry.references = [
                (column, self._named(name)) for column, text in entry.references for name in split_pictures(text)
            ]
            if self._splits and entry.references:
                folder = PurePosixPath(entry.references[0][1]).parts[0]
                if folder.casefold() in _SPLITS:
                    entry.values[_SPLIT] = folder
            yield entry

    def share_names(self, names: PictureNames) -> None:
        """Use names that are unique in all tables of the folder."""
        self._names = names

    def file_names(self, table: Table) -> Iterator[str]:
        for name in self._main_pictures(table):
            yield self._named(name)

    def _named(self, picture: str) -> str:
        return str(self.below / picture.replace("\\", "/").lstrip("/"))


def _is_file_name(column: str) -> bool:
    name = plain(column)
    return name in ("filename", "filenames") or name.endswith(("filename", "filenames"))
