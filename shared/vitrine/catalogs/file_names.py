"""All files of a catalogue by their names, for pictures that are not where their references say."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from vitrine.catalogs.reference_paths import RANKS, suffix_of
from vitrine.images.formats import REFUSED_SUFFIXES

Found = Literal["found", "missing", "unsafe", "ambiguous", "unsupported"]

# Folders that hold pictures in general: in the root, they are tried first, and their name says nothing about a picture.
PICTURE_FOLDERS: Final = (
    "images", "image", "img", "imgs", "pictures", "pics", "photos", "media", "uploads", "assets", "files",
)  # fmt: skip
TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xml"})
# Files beside pictures that are no pictures.
OTHER_SUFFIXES: Final = TABLE_SUFFIXES | {".txt", ".md", ".xlsx", ".xls", ".log", ".yaml", ".yml", ".db", ".ini"}
# Shops add the size in pixels to the name of a reduced picture: `-300x300`, `_600x`, `_600x_crop_center@2x`, `-scaled`.
_SIZE_MARK: Final = re.compile(
    r"(?:[_-](?:[0-9]{3,4}x(?:[0-9]{3,4})?|x[0-9]{3,4})(?:_crop_[a-z]+)?(?:@[1-3]x)?|@[1-3]x|-scaled)$"
)
_SHOWN_FILES: Final = 3


@dataclass(frozen=True, slots=True)
class Lookup:
    """The result of looking for a picture.

    `picture` is its path relative to the root, with forward slashes, if it is found. `by_name` says that none of
    the reference's folders agrees, only the file name. `detail` says, for people, what was wrong and where was looked.
    """

    found: Found
    picture: str = ""
    by_name: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """A file found by its name."""

    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


class FileNames:
    """All files by their normalised name without suffix."""

    def __init__(self, folders: Iterable[tuple[str, list[str]]]) -> None:
        self._places: dict[str, _Place | list[_Place]] = {}
        self._folder_keys: dict[str, tuple[str, ...]] = {}
        self.file_count = 0
        for folder, names in folders:
            if not _is_text(folder):
                continue
            self._folder_keys[folder] = tuple(map(key_of, folder.split("/"))) if folder else ()
            for name in names:
                suffix = suffix_of(name)
                if suffix in OTHER_SUFFIXES or name.startswith(".") or not _is_text(name):
                    continue
                key = key_of(name[: -len(suffix)] if suffix in RANKS or suffix in REFUSED_SUFFIXES else name)
                place, others = _Place(folder, name), self._places.get(key)
                if others is None:
                    self._places[key] = place
                elif isinstance(others, list):
                    others.append(place)
                else:
                    self._places[key] = [others, place]
                self.file_count += 1
        self._existing = set(self._folder_keys.values())

    def find(self, parts: tuple[str, ...], *, is_link: bool) -> Lookup | None:
        """The file with this name; None if there is none. `unsupported` comes with the path of the file."""
        name, folders = parts[-1], tuple(map(key_of, parts[:-1]))
        suffix = suffix_of(name)
        has_suffix = suffix in RANKS or suffix in REFUSED_SUFFIXES
        stem = key_of(name[: -len(suffix)] if has_suffix else name)
        sized = _SIZE_MARK.sub("", stem) if has_suffix or is_link else stem
        for key in dict.fromkeys((stem, sized)):
            places = self._at(key)
            if not is_link:
                places = self._inside(places, folders)
            pictures = [place for place in places if suffix_of(place.name) in RANKS]
            same = [place for place in pictures if key_of(place.name) == key_of(name)]
            for candidates in (same, pictures, places):
                if candidates:
                    return self._chosen(candidates, name, folders)
        return None

    def where_looked(self, parts: tuple[str, ...]) -> str:
        """Where a missing picture was looked for."""
        name = parts[-1] if parts else ""
        return f"looked for its path, and for {name[:80]!r} among {self.file_count} files of all folders"

    def _at(self, key: str) -> list[_Place]:
        places = self._places.get(key)
        if places is None:
            return []
        return places if isinstance(places, list) else [places]

    def _inside(self, places: list[_Place], folders: tuple[str, ...]) -> list[_Place]:
        """The places in the folder that the reference names, if there is such a folder.

        Its picture is missing then: a file of the same name in a folder beside it is that of another product.
        """
        if not folders or folders[-1] in PICTURE_FOLDERS:
            return places
        named = [
            existing
            for existing in (folders, *((top, *folders) for top in PICTURE_FOLDERS))
            if existing in self._existing
        ]
        if not named:
            return places
        return [
            place
            for place in places
            if any(self._folder_keys[place.folder][: len(existing)] == existing for existing in named)
        ]

    def _chosen(self, places: list[_Place], name: str, folders: tuple[str, ...]) -> Lookup:
        """The file that fits the reference's folders best, and in its folder the one with the same name."""
        fits = {place: self._fit(place, folders) for place in places}
        best_fit = max(fits.values())
        best = [place for place in places if fits[place] == best_fit]
        if len({place.folder for place in best}) == 1:
            best.sort(key=lambda place: (place.name != name, RANKS.get(suffix_of(place.name), len(RANKS))))
            first = best[0]
            # Within one folder, a name that differs in case only is as good as the other.
            best = [one for one in best if one.name == first.name or _is_twin(one, first, name)]
        if len(best) > 1:
            shown = ", ".join(sorted(place.path for place in best)[:_SHOWN_FILES])
            more = f" and {len(best) - _SHOWN_FILES} more" if len(best) > _SHOWN_FILES else ""
            return Lookup("ambiguous", detail=f"several files have this name: {shown}{more}; name its folder too")
        found: Found = "found" if suffix_of(best[0].name) in RANKS else "unsupported"
        by_name = best_fit[0] == 0 and any(folder not in PICTURE_FOLDERS for folder in folders)
        return Lookup(found, best[0].path, by_name=by_name)

    def _fit(self, place: _Place, folders: tuple[str, ...]) -> tuple[int, int, int]:
        """How many of the last folders of the reference a file has, how many in all, and whether it is in a folder for
        pictures in general.
        """
        own = self._folder_keys[place.folder]
        trailing = 0
        for mine, theirs in zip(reversed(own), reversed(folders), strict=False):
            if mine != theirs:
                break
            trailing += 1
        common = (Counter(own) & Counter(folders)).total()
        top = own[0] if len(own) == 1 else ""
        general = 1 if not own else -PICTURE_FOLDERS.index(top) if top in PICTURE_FOLDERS else -len(PICTURE_FOLDERS)
        return trailing, common, general


def _is_twin(one: _Place, other: _Place, name: str) -> bool:
    """Whether two files of one folder differ in case or Unicode form alone, and neither has exactly this name."""
    return one.name != name != other.name and key_of(one.name) == key_of(other.name)


def key_of(name: str) -> str:
    """The name without differences of case and Unicode form."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_text(name: str) -> bool:
    """Whether the name is valid Unicode. Others cannot be stored."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
