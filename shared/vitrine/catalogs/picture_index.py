"""Finds the pictures that a catalogue's table names, below the catalogue's folder.

Each folder is listed once, which is faster than a check of every file. All folders are listed only if a picture is not
where its reference says. A link must lead to a regular file inside the root. Links out of the root, pipes, devices and
folders are unsafe.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from vitrine.images.formats import MAX_SEEN_BYTES, MEDIA_TYPES, PICTURE_SUFFIXES, REFUSED_SUFFIXES, format_seen
from vitrine.safe_read import open_regular

Found = Literal["found", "missing", "unsafe", "ambiguous", "unsupported"]

# Folders that hold pictures in general: in the root, they are tried first, and their name says nothing about a picture.
PICTURE_FOLDERS: Final = (
    "images", "image", "img", "imgs", "pictures", "pics", "photos", "media", "uploads", "assets", "files",
)  # fmt: skip
# A folder below the root with a file of this name is another catalogue.
_TABLE_STEMS: Final = frozenset({"products", "styles", "articles", "catalog", "catalogue"})
_TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xml"})
# Files beside pictures that are no pictures.
_OTHER_SUFFIXES: Final = _TABLE_SUFFIXES | {".txt", ".md", ".xlsx", ".xls", ".log", ".yaml", ".yml", ".db", ".ini"}
_SKIPPED_FOLDERS: Final = frozenset({"__macosx", "@eadir", "node_modules", "$recycle.bin"})
_LINK: Final = re.compile(r"(?i)(?:[a-z][a-z0-9+.-]+:)?//+(?=[^/])")
_DRIVE: Final = re.compile(r"[A-Za-z]:/")
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


@dataclass(slots=True)
class _Folder:
    """A listed folder: the state of each entry, the names of its folders, and the preferred file for each stem."""

    files: dict[str, Found] = field(default_factory=dict)
    folders: dict[str, bool] = field(default_factory=dict)  # name -> whether it is a link
    by_stem: dict[str, str] | None = None

    def stems(self) -> dict[str, str]:
        if self.by_stem is None:
            self.by_stem = {}
            for name in sorted((name for name in self.files if _suffix(name) in _RANKS), key=_rank):
                self.by_stem.setdefault(name[: name.rindex(".")], name)
        return self.by_stem


@dataclass(frozen=True, slots=True)
class _Place:
    """A file found by its name."""

    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


class PictureIndex:
    """The pictures below `root`, which is absolute and free of links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, _Folder | None] = {}
        self._names: _Names | None = None
        # The first folder of pictures in general, once a picture was found in it.
        self._usual = ""

    def find(self, path: str) -> Found:
        """The state of the picture at a relative path with forward slashes."""
        parts = _safe_parts(path)
        if parts is None:
            return "unsafe"
        folder = self._folder("/".join(parts[:-1]))
        if folder is None:
            return "unsafe"
        return folder.files.get(parts[-1], "missing")

    def find_stem(self, folder: str, stem: str) -> tuple[Found, str]:
        """The state and relative path of the picture `stem` with any suffix in a folder; .jpg is preferred."""
        parts = _safe_parts(f"{folder}/{stem}" if folder else stem)
        if parts is None:
            return "unsafe", ""
        where = "/".join(parts[:-1])
        listed = self._folder(where)
        if listed is None:
            return "unsafe", ""
        name = listed.stems().get(parts[-1])
        if name is None:
            return "missing", ""
        return listed.files[name], f"{where}/{name}" if where else name

    def lookup(self, reference: str) -> Lookup:
        """Find the picture that a table's field names: by a path, a link, or a file name, with or without suffix.

        First its path is tried, below the root and below the root's folder of pictures. Then its file name is looked
        for in all folders, and upper and lower case, the Unicode form, percent encoding, a query, another suffix of
        pictures and a size that a shop adds to the name (`-300x300`) are ignored. Of several files with the name, the
        one with the reference's folders is chosen. Never raises.
        """
        folder, _, name = reference.rpartition("/")
        known = self._folders.get(folder)
        if known is not None and known.files.get(name) == "found" and _suffix(name) in _RANKS:
            return Lookup("found", reference)  # as nearly all are in a tidy catalogue
        if not folder and (known := self._folders.get(self._usual)) is not None and known.files.get(name) == "found":
            top = self._folders.get("")
            if _suffix(name) in _RANKS and top is not None and name not in top.files and name not in top.stems():
                return Lookup("found", f"{self._usual}/{name}")
        reference = reference.strip()
        if not reference:
            return Lookup("missing", detail="the field is empty")
        if "\0" in reference:
            return Lookup("unsafe", detail="the path has a NUL character")
        if reference[:5].lower() == "data:":
            return Lookup("unsupported", detail="the field holds the picture itself (data:); put it into a file")
        is_link, paths = _paths_of(reference, root=self._root)
        if not is_link:
            outcome = self._by_path(paths)
            if outcome is not None:
                return outcome
        names = self._all_names()
        for path in paths:
            parts = _name_parts(path)
            outcome = names.find(parts, is_link=is_link) if parts else None
            if outcome is not None:
                return outcome if outcome.found != "unsupported" else self._other_file(outcome.picture)
        if not is_link and reference.startswith("/") and _suffix(reference) not in _RANKS:
            return Lookup("unsafe", detail="the path leads out of the catalogue")
        return Lookup("missing", detail=names.where_looked(_name_parts(paths[0])))

    def _by_path(self, paths: Iterable[str]) -> Lookup | None:
        """The picture at one of these paths, below the root or below its folders of pictures."""
        unsafe: Lookup | None = None
        for path in paths:
            parts = _safe_parts(path.lstrip("/"))
            if parts is None:
                return Lookup("unsafe", detail="the path leads out of the catalogue")
            for top in ("", *self._picture_folders()):
                found, picture = self._at("/".join((top, *parts) if top else parts))
                if found == "found":
                    if top and top == self._picture_folders()[0]:
                        self._usual = top
                    return Lookup("found", picture)
                if found == "unsupported":
                    return self._other_file(picture)
                if found == "unsafe":
                    detail = "it is a link out of the catalogue, or not a regular file"
                    unsafe = Lookup("unsafe", detail=detail)
        return unsafe

    def _at(self, path: str) -> tuple[Found, str]:
        """The state of a path, which may lack its suffix."""
        found = self.find(path)
        if _suffix(path) in _RANKS and found != "missing":
            return found, path
        with_suffix = self.find_stem("", path)
        if with_suffix[0] == "missing" and found == "found":
            return "unsupported", path
        return with_suffix

    def _other_file(self, picture: str) -> Lookup:
        """A file without the suffix of a picture: it is one if its first bytes say so."""
        try:
            with open_regular((self._root / picture).resolve()) as file:
                seen = format_seen(file.read(MAX_SEEN_BYTES))
        except OSError as error:
            return Lookup("missing", detail=f"{picture} cannot be read: {error.strerror}")
        if seen in MEDIA_TYPES:
            return Lookup("found", picture)
        name = REFUSED_SUFFIXES.get(_suffix(picture), "a file of unknown format") if seen in {None, "text"} else seen
        return Lookup("unsupported", detail=f"{picture} is {name}")

    def _picture_folders(self) -> tuple[str, ...]:
        """The root's folders that hold pictures in general, in the order of PICTURE_FOLDERS."""
        top = self._folder("")
        names = {} if top is None else {name.lower(): name for name in sorted(top.folders, reverse=True)}
        return tuple(names[name] for name in PICTURE_FOLDERS if name in names)

    def _all_names(self) -> _Names:
        if self._names is None:
            self._names = _Names(self._walk())
        return self._names

    def _walk(self) -> Iterator[tuple[str, list[str]]]:
        """Every folder below the root with the names of its usable files, without hidden ones and other catalogues."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            listed = self._folders.get(folder) or self._list(folder, is_link=False)
            if listed is None or (folder and _has_table(listed.files)):
                continue
            yield folder, [name for name, state in listed.files.items() if state == "found"]
            waiting += [
                f"{folder}/{name}" if folder else name
                for name, is_link in listed.folders.items()
                # A link to a folder inside the root leads to pictures that are found there.
                if not is_link and not name.startswith(".") and name.lower() not in _SKIPPED_FOLDERS
            ]

    def _folder(self, path: str) -> _Folder | None:
        """The folder's listing; empty if there is no such folder, None if it is outside the root."""
        if path in self._folders:
            return self._folders[path]
        is_link = False
        if path:
            above, _, name = path.rpartition("/")
            parent = self._folder(above)
            if parent is None:
                return None
            if name not in parent.folders:
                return _NO_FOLDER
            is_link = parent.folders[name]
        listed = self._list(path, is_link=is_link)
        self._folders[path] = listed
        return listed

    def _list(self, path: str, *, is_link: bool) -> _Folder | None:
        folder = self._root / path
        try:
            if is_link and not folder.resolve().is_relative_to(self._root):
                return None
            listed = _Folder()
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        listed.files[entry.name] = "found"
                        continue
                    listed.files[entry.name] = self._state(entry)
                    if entry.is_dir(follow_symlinks=False) or entry.is_symlink():
                        listed.folders[entry.name] = entry.is_symlink()
        except (OSError, RuntimeError):  # no such folder, no permission, a loop of links
            return _Folder()
        return listed

    def _state(self, entry: os.DirEntry[str]) -> Found:
        if not entry.is_symlink():
            return "unsafe"
        try:
            target = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):
            return "missing"
        return "found" if target.is_relative_to(self._root) and target.is_file() else "unsafe"


class _Names:
    """All files by their normalised name without suffix."""

    def __init__(self, folders: Iterable[tuple[str, list[str]]]) -> None:
        self._places: dict[str, _Place | list[_Place]] = {}
        self._folder_keys: dict[str, tuple[str, ...]] = {}
        self.file_count = 0
        for folder, names in folders:
            if not _is_text(folder):
                continue
            self._folder_keys[folder] = tuple(map(_key, folder.split("/"))) if folder else ()
            for name in names:
                suffix = _suffix(name)
                if suffix in _OTHER_SUFFIXES or name.startswith(".") or not _is_text(name):
                    continue
                key = _key(name[: -len(suffix)] if suffix in _RANKS or suffix in REFUSED_SUFFIXES else name)
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
        name, folders = parts[-1], tuple(map(_key, parts[:-1]))
        suffix = _suffix(name)
        has_suffix = suffix in _RANKS or suffix in REFUSED_SUFFIXES
        stem = _key(name[: -len(suffix)] if has_suffix else name)
        sized = _SIZE_MARK.sub("", stem) if has_suffix or is_link else stem
        for key in dict.fromkeys((stem, sized)):
            places = self._at(key)
            if not is_link:
                places = self._inside(places, folders)
            pictures = [place for place in places if _suffix(place.name) in _RANKS]
            same = [place for place in pictures if _key(place.name) == _key(name)]
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
            best.sort(key=lambda place: (place.name != name, _RANKS.get(_suffix(place.name), len(_RANKS))))
            first = best[0]
            # Within one folder, a name that differs in case only is as good as the other.
            best = [one for one in best if one.name == first.name or _is_twin(one, first, name)]
        if len(best) > 1:
            shown = ", ".join(sorted(place.path for place in best)[:_SHOWN_FILES])
            more = f" and {len(best) - _SHOWN_FILES} more" if len(best) > _SHOWN_FILES else ""
            return Lookup("ambiguous", detail=f"several files have this name: {shown}{more}; name its folder too")
        found: Found = "found" if _suffix(best[0].name) in _RANKS else "unsupported"
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


_NO_FOLDER: Final = _Folder()
_RANKS: Final = {suffix: rank for rank, suffix in enumerate(PICTURE_SUFFIXES)}


def stem_of(reference: str) -> str:
    """The file name that a path or link ends in, without the suffix of a picture."""
    _, paths = _paths_of(reference.strip(), root=None)
    names = [parts[-1] for parts in map(_name_parts, paths) if parts]
    name = next((name for name in names if _suffix(name) in _RANKS), names[0] if names else "")
    return name[: -len(_suffix(name))] if _suffix(name) in _RANKS else name


def _paths_of(reference: str, *, root: Path | None) -> tuple[bool, tuple[str, ...]]:
    """Whether the reference is a link, and the paths that it may mean, the likeliest first."""
    text = reference.replace("\\", "/")
    if text[:5].lower() == "file:":
        text = re.sub(r"(?i)^file:/*(?:localhost/)?", "/", text)
    elif _LINK.match(text):
        return True, tuple(dict.fromkeys(_linked(text)))
    if _DRIVE.match(text.lstrip("/")):
        text = text.lstrip("/")[2:]
    if root is not None and text.startswith(f"{root.as_posix()}/"):
        text = text.removeprefix(f"{root.as_posix()}/")
    return False, _spellings(text)


def _linked(link: str) -> Iterator[str]:
    """The path of a link, and the file names in its query: `/picture?file=a.jpg`."""
    try:
        parts = urlsplit(link)
        values = [value for _, value in parse_qsl(parts.query)]
    except ValueError:  # a host in brackets, a port that is no number
        path, values = link.partition("//")[2].partition("/")[2].partition("?")[0], []
    else:
        path = parts.path
    if _suffix(path) in _RANKS or not any(_suffix(value) in _RANKS for value in values):
        yield from _decoded(path)
    for value in values:
        if _suffix(_without_query(value)) in _RANKS:
            yield from _decoded(_without_query(value))
    yield from _decoded(path)


def _without_query(text: str) -> str:
    """The path of a link or of a path, without query and fragment."""
    return text.partition("?")[0].partition("#")[0]


def _spellings(path: str) -> tuple[str, ...]:
    """A path as it is written, percent-decoded, and without what may be a query or a fragment."""
    without_query = _without_query(path)
    spellings = [path, *_decoded(path)]
    if _suffix(without_query) in _RANKS:  # else it is a part of the name, as in `tee#1.jpg`
        spellings += _decoded(without_query)
    return tuple(dict.fromkeys(spelling for spelling in spellings if spelling))


def _decoded(path: str) -> Iterator[str]:
    """The path percent-decoded, once and twice, and as it is; `+` may mean a blank."""
    once = _unquoted(path)
    yield once
    yield _unquoted(once)
    if "+" in once:
        yield once.replace("+", " ")
    yield path


def _unquoted(path: str) -> str:
    if "%" not in path:
        return path
    decoded = unquote(path, errors="replace")
    return unquote(path, encoding="cp1252", errors="replace") if "\ufffd" in decoded else decoded


def _safe_parts(path: str) -> tuple[str, ...] | None:
    """The parts of a relative path that stays below its root, or None."""
    if not path or "\0" in path or "\\" in path or path.startswith("/"):
        return None
    parts = tuple(path.split("/"))
    if "" in parts or "." in parts:
        parts = PurePosixPath(path).parts
    return None if ".." in parts or not parts else parts


def _name_parts(path: str) -> tuple[str, ...]:
    """The parts of a path of any form. Only names are compared, so `..` does no harm."""
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in {"", ".", ".."})


def _is_twin(one: _Place, other: _Place, name: str) -> bool:
    """Whether two files of one folder differ in case or Unicode form alone, and neither has exactly this name."""
    return one.name != name != other.name and _key(one.name) == _key(other.name)


def _has_table(names: Iterable[str]) -> bool:
    for name in names:
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - Path takes a second for 40,000 names
        if suffix.lower() in _TABLE_SUFFIXES and stem.lower() in _TABLE_STEMS:
            return True
    return False


def _key(name: str) -> str:
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


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - Path takes a second for 40,000 names


def _rank(name: str) -> tuple[int, str]:
    return _RANKS[_suffix(name)], name
