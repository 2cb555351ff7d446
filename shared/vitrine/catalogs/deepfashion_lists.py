"""The parts that both DeepFashion readers share: list files, pictures, product ids and article types.

A list file has a line with the number of its rows, mostly a line with the column names, then the rows. Columns are
separated by whitespace. Lists are long, so they are read line by line. The first column is a path and may contain
blanks, so a row is split from its end.
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

from vitrine.catalogs.file_names import Found
from vitrine.catalogs.model import CatalogBuilder
from vitrine.catalogs.picture_index import PictureIndex
from vitrine.catalogs.table import Row, check_file, decoded, open_checked
from vitrine.errors import CatalogMalformed, CatalogNotFound

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MAX_LINE_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ListFile:
    """One list file. `stated` is its stated number of rows, None if the first line is not a number."""

    path: Path
    columns: tuple[str, ...]
    stated: int | None
    _head_lines: int

    def rows(self) -> Iterator[Row]:
        """The rows, without blank lines, with at most as many fields as columns; None for a line that is too long."""
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

    def check_count(self, rows: int, builder: CatalogBuilder) -> None:
        """Record an issue if the list has `rows` rows and states another number."""
        if self.stated != rows:
            stated = "does not state the number of rows" if self.stated is None else f"states {self.stated} rows"
            builder.issue("wrong_count", f"{self.path.name}: the first line {stated}, there are {rows}", line=1)


def find_list(root: Path, folders: tuple[str, ...], name: str) -> Path:
    """The list file `name` in the first of the folders that has it. Raises CatalogNotFound."""
    for folder in folders:
        path = root / folder / name
        if path.is_file():
            return path
    places = " or ".join(f"{folder}/{name}" for folder in folders)
    raise CatalogNotFound(f"there is no {name} below {root}; it should be {places}")


def open_list(path: Path, *, root: Path, columns: tuple[str, ...], has_header: bool = True) -> ListFile:
    """Open the list at `path`, which must be inside `root` after links are resolved.

    Raises CatalogNotFound, CatalogRootRefused for a link out of the root, and CatalogMalformed if the list is empty,
    too large, or has a header with another number of columns or another first column.
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
    """The numbers and contents of the lines that are not blank."""
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
# A picture is looked for in these folders, in this order.
PICTURE_FOLDERS: Final = ("img", "Img/img", "img_highres", "Img/img_highres")
MAX_ID_CHARS: Final = 200  # the maximum of check_product_id
_DIGEST_BYTES: Final = 5


class BenchmarkPictures:
    """Finds the pictures below `root`, which is free of links."""

    def __init__(self, root: Path) -> None:
        self._index = PictureIndex(root)
        self._folders = [folder for folder in PICTURE_FOLDERS if (root / folder).is_dir()] or ["img"]

    def find(self, below: str) -> tuple[Found, str]:
        """The state of a picture, and its path relative to the root."""
        found: Found = "missing"
        for folder in self._folders:
            picture = f"{folder}/{below}"
            found = self._index.find(picture)
            if found != "missing":
                return found, picture
        return found, f"{LISTED_FOLDER}{below}"


class PictureIds:
    """Assigns unique product ids.

    If the wanted id is too long or already belongs to another picture, it ends in a digest of the picture's path. So an
    id depends only on the pictures listed before.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def for_picture(self, below: str, wanted: str) -> str:
        """The id of the picture at the path `below`; the same path always gets the same id."""
        if len(wanted) <= MAX_ID_CHARS and self._owners.setdefault(wanted, below) == below:
            return wanted
        digest = hashlib.blake2b(below.encode(errors="replace"), digest_size=_DIGEST_BYTES).hexdigest()
        return f"{wanted[: MAX_ID_CHARS - len(digest) - 1]}-{digest}"


def below_listed_folder(path: str) -> str:
    """A listed path without the prefix `img/`."""
    return path.removeprefix(LISTED_FOLDER)


def file_stem(name: str) -> str:
    """A file name without its suffix."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


Benchmark = Literal["category-prediction", "in-shop"]


def article_type(benchmark: Benchmark, category: str) -> str | None:
    """The article type of a category; "" if the category mixes several types, None if it is not in the table.

    Case, hyphens, blanks and underscores are ignored: `Button-Down`, `button down` and `BUTTONDOWN` are the same.
    """
    return _tables()[benchmark].get(_key(category))


@cache
def _tables() -> dict[str, dict[str, str]]:
    text = files("vitrine.catalogs").joinpath("deepfashion_articles.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {name: {_key(category): article for category, article in table.items()} for name, table in tables.items()}


def _key(category: str) -> str:
    return "".join(filter(str.isalnum, category)).casefold()
