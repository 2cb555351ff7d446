"""Paths of categories: `Clothing > Dresses > Midi`, several of them in one field, and paths with slashes."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vitrine.catalogs.columns.lists import in_brackets, key_of

JOIN: Final = " > "
_ARROW: Final = re.compile("\\s*(?:>+|\u00bb|\u203a|\u2192)\\s*")
_BETWEEN_PATHS: Final = re.compile(r"(?<!\\)[,;|\n]\s*")
_FILE: Final = re.compile(r"\.[a-z][a-z0-9]{1,4}$", re.IGNORECASE)  # /m/h/shirt.jpg
_MAX_LEVELS: Final = 12
_MAX_LEVEL_CHARS: Final = 80
_MOST: Final = 0.5
_CATEGORY_NAME: Final = re.compile(
    r"(?i:.*(?:categor|kategor|catégor|breadcrumb|taxonomy|department|warengruppe|product_?type|path|раздел|категор).*)"
)


@dataclass(frozen=True, slots=True)
class PathForm:
    """How the paths of a column are written. `firsts` are the first levels by which several paths are told apart."""

    has_slashes: bool
    firsts: frozenset[str]

    def read(self, text: str) -> str | list[str] | None:
        """The path with ` > ` between its levels, or a list if there are several. None if there is none."""
        paths = list(dict.fromkeys(path for path in map(self._path, self._split(text)) if path))
        return paths[0] if len(paths) == 1 else paths or None

    def _split(self, text: str) -> list[str]:
        text = _unescaped(text)
        listed = in_brackets(text)
        if listed is not None:
            return listed
        parts = _BETWEEN_PATHS.split(text)
        # A comma may also be part of a level: `Jackets, Coats > Parkas`.
        return parts if all(key_of(self._levels(part)[0]) in self.firsts for part in parts) else [text]

    def _path(self, text: str) -> str:
        return JOIN.join(level.replace("\\,", ",") for level in self._levels(text) if level)

    def _levels(self, text: str) -> list[str]:
        return _levels(text, has_slashes=self.has_slashes)


def path_form(texts: Mapping[str, int], attribute: str, *, is_path: bool = False) -> PathForm | None:
    """How a column writes its category paths, by its distinct texts and their numbers. None if it has none.

    `is_path`: the column is known to hold paths.
    """
    single = [(_unescaped(part), count) for text, count in texts.items() for part in in_brackets(text) or [text]]
    with_arrows = [(text, count) for text, count in single if _is_path(_levels(text, has_slashes=False))]
    if with_arrows:
        firsts = _firsts([text for text, _ in single], has_slashes=False)
        count = sum(count for _, count in with_arrows)
        others = [text for text, _ in single if not _is_path(_levels(text, has_slashes=False))]
        named = is_path or _CATEGORY_NAME.fullmatch(attribute) is not None
        if not _has_broken(others) and (named or count >= _MOST * sum(count for _, count in single)):
            return PathForm(False, firsts)
        return None
    if _has_slash_paths([text for text, _ in single], attribute):
        return PathForm(True, _firsts([text for text, _ in single], has_slashes=True))
    return PathForm(False, frozenset()) if is_path else None


def read_any_path(text: str) -> str | list[str] | None:
    """The path or paths of a single text that has no column."""
    form = path_form({text: 1}, "", is_path=True)
    return form.read(text) if form is not None else None


def _unescaped(text: str) -> str:
    return html.unescape(text) if "&" in text else text


def _levels(text: str, *, has_slashes: bool) -> list[str]:
    levels = re.split(r"\s*/\s*", text.strip().strip("/")) if has_slashes else _ARROW.split(text.strip())
    return [" ".join(level.split()) for level in levels]


def _is_path(levels: list[str]) -> bool:
    return 2 <= len(levels) <= _MAX_LEVELS and all(
        len(level) <= _MAX_LEVEL_CHARS and any(character.isalnum() for character in level) for level in levels
    )


def _has_broken(texts: list[str]) -> bool:
    """Whether a text has an arrow and yet is no path, such as `> 5 kg`."""
    return any(_ARROW.search(text) for text in texts)


def _firsts(texts: list[str], *, has_slashes: bool) -> frozenset[str]:
    """The first levels of the texts, and of those parts behind a comma that are paths in themselves."""
    return frozenset(key_of(_levels(_BETWEEN_PATHS.split(text)[0], has_slashes=has_slashes)[0]) for text in texts)


def _has_slash_paths(texts: list[str], attribute: str) -> bool:
    """Whether slashes separate levels: in every text, below shared first levels, and never the other way round."""
    if len(texts) < 2 or not all("/" in text for text in texts) or any("://" in text for text in texts):
        return False
    if any(_FILE.search(text) for text in texts):
        return False
    paths = [_levels(text, has_slashes=True) for text in texts]
    if not all(_is_path(path) and all(any(c.isalpha() for c in level) for level in path) for path in paths):
        return False
    firsts = {key_of(path[0]) for path in paths}
    below = {key_of(level) for path in paths for level in path[1:]}
    is_deep = sum(len(path) > 2 for path in paths) >= _MOST * len(paths)
    return len(firsts) < len(paths) and not firsts & below and (is_deep or bool(_CATEGORY_NAME.fullmatch(attribute)))
