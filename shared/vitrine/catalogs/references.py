"""The pictures that a field names: one path, file name or link, or several in one field."""

from __future__ import annotations

import json
import re
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote

from vitrine.catalogs.reference_paths import stem_of
from vitrine.images.formats import PICTURE_SUFFIXES, REFUSED_SUFFIXES

_SUFFIXES: Final = frozenset({*PICTURE_SUFFIXES, *REFUSED_SUFFIXES})
_NO_PICTURES: Final = frozenset({"HTML", "ZIP", "PDF", "PostScript", "video", "glTF"})
_OF_PICTURES: Final = _SUFFIXES - {suffix for suffix, name in REFUSED_SUFFIXES.items() if name in _NO_PICTURES}
_LINK: Final = re.compile(r"(?:https?:)?//", re.IGNORECASE)
# A link may have commas and semicolons itself, so only those before another link separate.
_BETWEEN_LINKS: Final = re.compile(r"\s*[|;,]\s*(?=(?:https?:)?//)|\s+(?=(?:https?:)?//)", re.IGNORECASE)
_AFTER_LINK: Final = re.compile(r"\s*\|\s*|\s*[;,]\s+")
_SEVERAL: Final = re.compile(r"[|;,\s\[]")
_SEPARATORS: Final = (r"\|", r"[\r\n]+", ";", ",", r"\s+")
_MAX_LIST_CHARS: Final = 100_000
_LIST_MEMBERS: Final = ("src", "url", "image", "path", "file_name")

Exists = Callable[[str], bool]


def is_picture_file(name: str) -> bool:
    """Whether a file's name is that of a picture, in a format that is read or not."""
    return PurePosixPath(name).suffix.lower() in _OF_PICTURES


def split_pictures(text: str, exists: Exists = lambda _: False) -> list[str]:
    """The references of a field, in order, each once.

    They are a JSON list, or separated by `|`, `;`, `,`, a line break, or blanks. A reference that `exists` is never
    split, because a file name may have any of these.
    """
    text = text.strip()
    if not text:
        return []
    if not _SEVERAL.search(text):
        return [text]
    listed = _listed(text)
    if listed is None:
        # Of several links, the last alone would be looked for.
        listed = [text] if not _LINK.search(text) and exists(text) else _split(text, exists)
    return list(dict.fromkeys(listed))


class PictureNames:
    """Makes ids of pictures: the file name without suffix; with the folder, then with the suffix, if it repeats."""

    def __init__(self, references: Iterable[str]) -> None:
        self._counts: Counter[str] = Counter()
        for reference in set(references):
            self._counts.update(set(self._names(reference)))

    def id_of(self, reference: str) -> str:
        names = self._names(reference)
        return next((name for name in names if self._counts[name] < 2), names[-1])

    @staticmethod
    def _names(reference: str) -> tuple[str, ...]:
        stem = stem_of(reference)
        path = PurePosixPath(unquote(reference) if _LINK.match(reference) else reference.replace("\\", "/").lstrip("/"))
        folder = str(path.parent)
        return (stem, stem if folder == "." else f"{folder}/{stem}", str(path))


def _listed(text: str) -> list[str] | None:
    """The references of a list in JSON or Python; None if the text is none."""
    if not (text.startswith("[") and text.endswith("]") and len(text) <= _MAX_LIST_CHARS):
        return None
    value: Any
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(value, list):
        return None
    items = [_of_object(item) if isinstance(item, dict) else item for item in value]
    return [item.strip() for item in items if isinstance(item, str) and item.strip()]


def _of_object(item: dict[Any, Any]) -> Any:
    return next((item[name] for name in _LIST_MEMBERS if name in item), None)


def _split(text: str, exists: Exists) -> list[str]:
    if _LINK.search(text):
        parts = [part.strip(" \t\r\n|;,") for part in _BETWEEN_LINKS.split(text)]
        return [one for part in parts if part for one in _after_link(part)]
    for separator in _SEPARATORS:
        parts = [part.strip().strip("\"'") for part in re.split(separator, text)]
        parts = [part for part in parts if part]
        if len(parts) < 2:
            continue
        if separator == r"\|" or all(map(_has_suffix, parts)) or any(map(exists, parts)):
            return [one for part in parts for one in ([part] if exists(part) else _split(part, exists))]
    return [text]


def _after_link(text: str) -> list[str]:
    """A link, and the file names that follow it."""
    first, *others = (part.strip() for part in _AFTER_LINK.split(text))
    return [first, *others] if others and all(map(_has_suffix, others)) else [text]


def _has_suffix(reference: str) -> bool:
    return PurePosixPath(reference).suffix.lower() in _SUFFIXES
