"""What a reference to a picture means: the paths of a path, a link, or a file name, in every likely spelling."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from vitrine.images.formats import PICTURE_SUFFIXES

# The preference among pictures that differ in their suffix alone.
RANKS: Final = {suffix: rank for rank, suffix in enumerate(PICTURE_SUFFIXES)}
_LINK: Final = re.compile(r"(?i)(?:[a-z][a-z0-9+.-]+:)?//+(?=[^/])")
_DRIVE: Final = re.compile(r"[A-Za-z]:/")


def stem_of(reference: str) -> str:
    """The file name that a path or link ends in, without the suffix of a picture."""
    _, paths = paths_of(reference.strip(), root=None)
    names = [parts[-1] for parts in map(name_parts, paths) if parts]
    name = next((name for name in names if suffix_of(name) in RANKS), names[0] if names else "")
    return name[: -len(suffix_of(name))] if suffix_of(name) in RANKS else name


def paths_of(reference: str, *, root: Path | None) -> tuple[bool, tuple[str, ...]]:
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
    if suffix_of(path) in RANKS or not any(suffix_of(value) in RANKS for value in values):
        yield from _decoded(path)
    for value in values:
        if suffix_of(_without_query(value)) in RANKS:
            yield from _decoded(_without_query(value))
    yield from _decoded(path)


def _without_query(text: str) -> str:
    """The path of a link or of a path, without query and fragment."""
    return text.partition("?")[0].partition("#")[0]


def _spellings(path: str) -> tuple[str, ...]:
    """A path as it is written, percent-decoded, and without what may be a query or a fragment."""
    without_query = _without_query(path)
    spellings = [path, *_decoded(path)]
    if suffix_of(without_query) in RANKS:  # else it is a part of the name, as in `tee#1.jpg`
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


def safe_parts(path: str) -> tuple[str, ...] | None:
    """The parts of a relative path that stays below its root, or None."""
    if not path or "\0" in path or "\\" in path or path.startswith("/"):
        return None
    parts = tuple(path.split("/"))
    if "" in parts or "." in parts:
        parts = PurePosixPath(path).parts
    return None if ".." in parts or not parts else parts


def name_parts(path: str) -> tuple[str, ...]:
    """The parts of a path of any form. Only names are compared, so `..` does no harm."""
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in {"", ".", ".."})


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - Path takes a second for 40,000 names
