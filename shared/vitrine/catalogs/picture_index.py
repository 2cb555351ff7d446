"""Finds the pictures that a catalogue's table names, below the catalogue's folder.

Each folder is listed once, which is faster than a check of every file. All folders are listed only if a picture is not
where its reference says. A link must lead to a regular file inside the root. Links out of the root, pipes, devices and
folders are unsafe.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vitrine.catalogs.file_names import PICTURE_FOLDERS, TABLE_SUFFIXES, FileNames, Found, Lookup
from vitrine.catalogs.reference_paths import RANKS, name_parts, paths_of, safe_parts, suffix_of
from vitrine.images.formats import MAX_SEEN_BYTES, MEDIA_TYPES, REFUSED_SUFFIXES, format_seen
from vitrine.safe_read import open_regular

# A folder below the root with a file of this name is another catalogue.
_TABLE_STEMS: Final = frozenset({"products", "styles", "articles", "catalog", "catalogue"})
_SKIPPED_FOLDERS: Final = frozenset({"__macosx", "@eadir", "node_modules", "$recycle.bin"})


@dataclass(slots=True)
class _Folder:
    """A listed folder: the state of each entry, the names of its folders, and the preferred file for each stem."""

    files: dict[str, Found] = field(default_factory=dict)
    folders: dict[str, bool] = field(default_factory=dict)  # name -> whether it is a link
    by_stem: dict[str, str] | None = None

    def stems(self) -> dict[str, str]:
        if self.by_stem is None:
            self.by_stem = {}
            for name in sorted((name for name in self.files if suffix_of(name) in RANKS), key=_rank):
                self.by_stem.setdefault(name[: name.rindex(".")], name)
        return self.by_stem


class PictureIndex:
    """The pictures below `root`, which is absolute and free of links."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, _Folder | None] = {}
        self._names: FileNames | None = None
        # The first folder of pictures in general, once a picture was found in it.
        self._usual = ""

    def find(self, path: str) -> Found:
        """The state of the picture at a relative path with forward slashes."""
        parts = safe_parts(path)
        if parts is None:
            return "unsafe"
        folder = self._folder("/".join(parts[:-1]))
        if folder is None:
            return "unsafe"
        return folder.files.get(parts[-1], "missing")

    def find_stem(self, folder: str, stem: str) -> tuple[Found, str]:
        """The state and relative path of the picture `stem` with any suffix in a folder; .jpg is preferred."""
        parts = safe_parts(f"{folder}/{stem}" if folder else stem)
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
        if known is not None and known.files.get(name) == "found" and suffix_of(name) in RANKS:
            return Lookup("found", reference)  # as nearly all are in a tidy catalogue
        if not folder and (known := self._folders.get(self._usual)) is not None and known.files.get(name) == "found":
            top = self._folders.get("")
            if suffix_of(name) in RANKS and top is not None and name not in top.files and name not in top.stems():
                return Lookup("found", f"{self._usual}/{name}")
        reference = reference.strip()
        if not reference:
            return Lookup("missing", detail="the field is empty")
        if "\0" in reference:
            return Lookup("unsafe", detail="the path has a NUL character")
        if reference[:5].lower() == "data:":
            return Lookup("unsupported", detail="the field holds the picture itself (data:); put it into a file")
        is_link, paths = paths_of(reference, root=self._root)
        if not is_link:
            outcome = self._by_path(paths)
            if outcome is not None:
                return outcome
        names = self._all_names()
        for path in paths:
            parts = name_parts(path)
            outcome = names.find(parts, is_link=is_link) if parts else None
            if outcome is not None:
                return outcome if outcome.found != "unsupported" else self._other_file(outcome.picture)
        if not is_link and reference.startswith("/") and suffix_of(reference) not in RANKS:
            return Lookup("unsafe", detail="the path leads out of the catalogue")
        return Lookup("missing", detail=names.where_looked(name_parts(paths[0])))

    def _by_path(self, paths: Iterable[str]) -> Lookup | None:
        """The picture at one of these paths, below the root or below its folders of pictures."""
        unsafe: Lookup | None = None
        for path in paths:
            parts = safe_parts(path.lstrip("/"))
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
        if suffix_of(path) in RANKS and found != "missing":
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
        name = REFUSED_SUFFIXES.get(suffix_of(picture), "a file of unknown format") if seen in {None, "text"} else seen
        return Lookup("unsupported", detail=f"{picture} is {name}")

    def _picture_folders(self) -> tuple[str, ...]:
        """The root's folders that hold pictures in general, in the order of PICTURE_FOLDERS."""
        top = self._folder("")
        names = {} if top is None else {name.lower(): name for name in sorted(top.folders, reverse=True)}
        return tuple(names[name] for name in PICTURE_FOLDERS if name in names)

    def _all_names(self) -> FileNames:
        if self._names is None:
            self._names = FileNames(self._walk())
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


_NO_FOLDER: Final = _Folder()


def _has_table(names: Iterable[str]) -> bool:
    for name in names:
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - Path takes a second for 40,000 names
        if suffix.lower() in TABLE_SUFFIXES and stem.lower() in _TABLE_STEMS:
            return True
    return False


def _rank(name: str) -> tuple[int, str]:
    return RANKS[suffix_of(name)], name
