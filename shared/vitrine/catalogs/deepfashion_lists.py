"""A benchmark's list: a line with the number of its rows, perhaps a line that names the columns, then the rows.

Columns are separated by runs of blanks. Lists are long, so they are read line by line and never held whole. A path
comes first in its row and may itself hold blanks, so a row is split from its end.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from vitrine.catalogs.model import Harvest
from vitrine.catalogs.pictures import Found, PictureIndex
from vitrine.catalogs.table import Row, check_file, decoded, open_checked
from vitrine.errors import CatalogMalformed, CatalogNotFound

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MAX_LINE_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ListFile:
    """One list. `stated` is the number of rows it claims, None where its first line is no number."""

    path: Path
    columns: tuple[str, ...]
    stated: int | None
    _head_lines: int

    def rows(self) -> Iterator[Row]:
        """The rows with at most as many fields as there are columns; None for a line far too long.

        Blank lines are passed over.
        """
        splits = len(self.columns) - 1
        for number, data in _lines(self.path):
            if number <= self._head_lines:
                continue
            if len(data) > _MAX_LINE_BYTES:
                yield Row(number, None, True)
                continue
            line, is_utf8 = decoded(data)
            if fields := line.strip().rsplit(None, splits):
                yield Row(number, fields, is_utf8)

    def tell_count(self, rows: int, harvest: Harvest) -> None:
        """Report where the list claims another number of rows than the `rows` it has."""
        if self.stated != rows:
            claimed = "does not tell the number of rows" if self.stated is None else f"says {self.stated} rows"
            harvest.fault("wrong_count", f"{self.path.name}: the first line {claimed}, there are {rows}", line=1)


def find_list(root: Path, folders: tuple[str, ...], name: str) -> Path:
    """The list of this name in the first of the folders that has it. Raises CatalogNotFound."""
    for folder in folders:
        path = root / folder / name
        if path.is_file():
            return path
    places = " or ".join(f"{folder}/{name}" for folder in folders)
    raise CatalogNotFound(f"there is no {name} below {root}; this layout has it as {places}")


def open_list(path: Path, *, root: Path, columns: tuple[str, ...], has_header: bool = True) -> ListFile:
    """The list at `path`, which must lie inside `root` after links are followed.

    Raises CatalogNotFound, CatalogRootRefused for a link out of the root, and CatalogMalformed for a list that is
    empty, too large or whose header has another number of columns or another first one.
    """
    path = check_file(path, root=root)
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise CatalogMalformed(f"{path} is empty; its first line must be the number of its rows")
    number, words = first[0], _words(first[1])
    is_count = len(words) == 1 and words[0].isascii() and words[0].isdigit()
    stated = int(words[0][:18]) if is_count else None
    if not has_header:
        return ListFile(path, columns, stated, number if is_count else number - 1)
    if not _names(words, columns):
        number, header = next(lines, (number, b""))
        if not _names(_words(header), columns):
            raise CatalogMalformed(
                f"{path} has no header; after the number of rows it needs the line {' '.join(columns)!r}"
            )
    return ListFile(path, columns, stated, number)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    with open_checked(path) as file:
        for number, line in enumerate(file, start=1):
            data = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if not data.isspace() and data:
                yield number, data


def _words(line: bytes) -> list[str]:
    return decoded(line[:_MAX_LINE_BYTES])[0].split()


def _names(words: list[str], columns: tuple[str, ...]) -> bool:
    return len(words) == len(columns) and words[0].lower() == columns[0]


LISTED_FOLDER: Final = "img/"
# The first of these that has a picture counts.
PICTURE_FOLDERS: Final = ("img", "Img/img", "img_highres", "Img/img_highres")
MAX_ID_CHARS: Final = 200  # what check_product_id allows
_DIGEST_BYTES: Final = 5


class BenchmarkPictures:
    """The pictures below one root, which is free of links."""

    def __init__(self, root: Path) -> None:
        self._index = PictureIndex(root)
        self._folders = [folder for folder in PICTURE_FOLDERS if (root / folder).is_dir()] or ["img"]

    def find(self, below: str) -> tuple[Found, str]:
        """Whether the picture is there and safe, with its path relative to the root."""
        found: Found = "missing"
        for folder in self._folders:
            picture = f"{folder}/{below}"
            found = self._index.find(picture)
            if found != "missing":
                return found, picture
        return found, f"{LISTED_FOLDER}{below}"


class PictureIds:
    """The product ids given so far.

    An id is as its reader wishes it, unless that is too long or another picture has it: then the end is a digest of
    the path, so that the id depends on nothing but the pictures listed before.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def for_picture(self, below: str, wish: str) -> str:
        """The id of a picture; the same path has the same one."""
        if len(wish) <= MAX_ID_CHARS and self._owners.setdefault(wish, below) == below:
            return wish
        digest = hashlib.blake2b(below.encode(errors="replace"), digest_size=_DIGEST_BYTES).hexdigest()
        return f"{wish[: MAX_ID_CHARS - len(digest) - 1]}-{digest}"


def below_listed_folder(path: str) -> str:
    """A listed path without the `img/` that they all begin with."""
    return path.removeprefix(LISTED_FOLDER)


def file_stem(name: str) -> str:
    """A picture's file name without its ending."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


Benchmark = Literal["category-prediction", "in-shop"]


def article_type(benchmark: Benchmark, category: str) -> str | None:
    """The article type, "" for a category that mixes several, or None for a category that the table lacks.

    Case, hyphens, blanks and underscores do not count: `Button-Down`, `button down` and `BUTTONDOWN` are one.
    """
    return _tables()[benchmark].get(_key(category))


@cache
def _tables() -> dict[str, dict[str, str]]:
    text = files("vitrine.catalogs").joinpath("deepfashion_articles.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {name: {_key(category): article for category, article in table.items()} for name, table in tables.items()}


def _key(category: str) -> str:
    return "".join(filter(str.isalnum, category)).casefold()
