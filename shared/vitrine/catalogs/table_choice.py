"""Choose the table of a catalogue's folder, and the layout that its columns show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitrine.catalogs.layouts.entry import Layout, header_of
from vitrine.catalogs.layouts.folders import picture_files
from vitrine.catalogs.layouts.google_merchant import GoogleMerchant
from vitrine.catalogs.layouts.hm import HAndM
from vitrine.catalogs.layouts.image_folder import TABLE_STEM, ImageFolder
from vitrine.catalogs.layouts.plain_table import PlainTable
from vitrine.catalogs.layouts.roles import (
    ID_NAMES,
    NAME_NAMES,
    TABLE_ROLE,
    VARIANT_NAMES,
    WEAK_PICTURE_NAMES,
    found_roles,
    plain,
)
from vitrine.catalogs.layouts.shopify import Shopify
from vitrine.catalogs.layouts.woocommerce import WooCommerce
from vitrine.catalogs.table import Table, is_table_name, read_table
from vitrine.errors import CatalogError, CatalogMalformed, CatalogNotFound

# These are the catalogue whatever else is in the folder, the first of them before the second.
PREFERRED_NAMES: Final = ("products.csv", "styles.csv")
_TELLING_WORDS: Final = ("product", "catalog", "article", "item", "feed", "style")
# Layouts that other columns than those of ids and pictures show.
_PRESETS: Final = (Shopify, WooCommerce, GoogleMerchant, HAndM)
_BY_NAME: Final = {preset.name: preset for preset in _PRESETS}
PLAIN: Final = PlainTable.name
IMAGE_FOLDER: Final = ImageFolder.name
TABLE_LAYOUTS: Final = (*_BY_NAME, IMAGE_FOLDER, PLAIN)
_KNOWN_COLUMNS: Final = frozenset(
    {
        *ID_NAMES, *NAME_NAMES, *VARIANT_NAMES, *WEAK_PICTURE_NAMES,
        *(
            f"{before}{picture}{after}"
            for before in ("", "main", "product", "base")
            for picture in ("image", "images", "picture", "pictures", "photo", "bild", "bilder", "foto", "fotos")
            for after in ("", "url", "src", "link", "path", "file")
        ),
    }
)  # fmt: skip
_MAX_DEPTH: Final = 3
_LISTED_NAMES: Final = 10
_SPREADSHEETS: Final = (".xlsx", ".xls", ".ods", ".numbers")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A table of the folder. `score` says how much its columns are those of a catalogue; 0 is not at all."""

    table: Table
    preset: str
    score: int

    @property
    def rank(self) -> tuple[bool, int, int, bool]:
        name = self.table.path.name.lower()
        preferred = len(PREFERRED_NAMES) - PREFERRED_NAMES.index(name) if name in PREFERRED_NAMES else 0
        return (self.score > 0, preferred, self.score, any(word in name for word in _TELLING_WORDS))


def choose_tables(root: Path, reader: str, mapping: Mapping[str, str]) -> list[tuple[Table, Layout]]:
    """The tables below `root` with the layout of each: one, but in image folders one for each split.

    `reader` is a layout, or anything else to recognise it by the columns. The list is empty for a folder of folders
    with pictures and without a table. Raises CatalogNotFound if there is nothing to read, CatalogMalformed if several
    tables fit equally, and the errors of `read_table`.
    """
    named = next((name for role, name in mapping.items() if plain(role) == TABLE_ROLE), None)
    if named is not None:
        return [_with_layout(_candidate(root / named, root), root, reader, mapping)]
    candidates, error = _candidates(_tables_in(root), root, reader)
    if not any(one.score for one in candidates):
        deeper, _ = _candidates(_metadata_below(root), root, reader)
        candidates = deeper or candidates
    if not candidates:
        if reader not in TABLE_LAYOUTS and _has_folders_of_pictures(root):
            return []
        if error is not None:
            raise error
        raise CatalogNotFound(_nothing_found(root))
    best = max(candidates, key=lambda one: one.rank)
    same = [one for one in candidates if one.rank == best.rank]
    if best.preset == IMAGE_FOLDER:
        return [_with_layout(one, root, reader, mapping) for one in candidates if one.preset == IMAGE_FOLDER]
    if len(same) > 1:
        names = ", ".join(one.table.path.name for one in same[:_LISTED_NAMES])
        raise CatalogMalformed(
            f"{root} has several tables that may be the catalogue ({names}); choose one: "
            f"--map {TABLE_ROLE}={_shell(same[0].table.path.name)}, or name the right one products.csv"
        )
    return [_with_layout(best, root, reader, mapping)]


def _with_layout(candidate: _Candidate, root: Path, reader: str, mapping: Mapping[str, str]) -> tuple[Table, Layout]:
    table = candidate.table
    name = reader if reader in TABLE_LAYOUTS else candidate.preset
    layout: Layout
    if name == IMAGE_FOLDER:
        layout = ImageFolder(table, mapping, root=root)
    else:
        layout = _BY_NAME.get(name, PlainTable)(table, mapping)
    return table, layout


def _candidates(paths: Iterator[Path], root: Path, reader: str) -> tuple[list[_Candidate], CatalogError | None]:
    """The tables that can be read, and the error of the first that cannot, which is raised if it is a CSV alone."""
    found: list[_Candidate] = []
    errors: dict[Path, CatalogError] = {}
    for path in paths:
        try:
            found.append(_candidate(path, root))
        except CatalogError as error:
            errors[path] = error
            if path.name.lower() in PREFERRED_NAMES:
                raise
    if not found:
        for path, refusal in errors.items():
            if _is_certain(path):
                raise refusal
    # Notes and settings beside the pictures are no tables; a CSV is, even if no column is known.
    usable = [one for one in found if one.score or reader in TABLE_LAYOUTS or _is_certain(one.table.path)]
    return usable, next(iter(errors.values()), None)


def _is_certain(path: Path) -> bool:
    """Whether a file of this name holds a table and nothing else."""
    return path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv", ".parquet"))


def _candidate(path: Path, root: Path) -> _Candidate:
    table = read_table(path, root=root, known_columns=_KNOWN_COLUMNS)
    header = header_of(table)
    if ImageFolder.fits(header, path):
        return _Candidate(table, IMAGE_FOLDER, 4)
    for preset in _PRESETS:
        if preset.fits(header):
            return _Candidate(table, preset.name, 4)
    roles = found_roles(header)
    return _Candidate(table, PLAIN, (roles.id_at is not None) * 2 + bool(roles.pictures_at))


def _tables_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if is_table_name(path.name) and not path.name.startswith(".") and path.is_file():
            yield path


def _metadata_below(root: Path) -> Iterator[Path]:
    """The tables of an image folder's splits, such as `train/metadata.csv`."""
    return (path for path in _tables_below(root) if path.stem.lower() == TABLE_STEM)


def _tables_below(root: Path) -> Iterator[Path]:
    """The files in folders below that may be tables."""
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _MAX_DEPTH else []
        for name in sorted(files):
            if depth and is_table_name(name):
                yield Path(folder, name)


def _has_folders_of_pictures(root: Path) -> bool:
    return any("/" in file for file in picture_files(root))


def _nothing_found(root: Path) -> str:
    base = f"there is no CSV in {root}, nor another table"
    sheet = next((path for path in sorted(root.iterdir()) if path.suffix.lower() in _SPREADSHEETS), None)
    if sheet is not None:
        return f"{base}; save {sheet.name} as products.csv (CSV, UTF-8)"
    below = next(filter(_is_certain, _tables_below(root)), None)
    if below is not None:
        name = below.relative_to(root).as_posix()
        return f"{base}; there is {name} in a folder below: use it with --map {TABLE_ROLE}={_shell(name)}"
    if next(picture_files(root), None) is not None:
        return (
            f"{base}; a catalogue needs products.csv with one row per product, or use --reader pictures: "
            "each picture is a product, and its folder the category"
        )
    return f"{base}; a catalogue needs products.csv with one row per product"


def _shell(name: str) -> str:
    return name if name.replace("_", "").replace(".", "").replace("/", "").replace("-", "").isalnum() else f'"{name}"'
