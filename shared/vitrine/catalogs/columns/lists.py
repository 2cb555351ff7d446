"""Lists of keywords inside a field: which separators a column uses, and the keywords of each text.

A list in brackets, `["Red", "Blue"]`, is evident. A comma or a slash is a separator only if the column shows it: the
parts are short, they recur in other rows, and they stand alone, in another order or in another number elsewhere. So the
brand `Black, White & Grey Co.` and the size `Size 10, EU` stay whole.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

# The strongest first: a text that has a bar is split at its bars alone.
BRACKETS: Final = "[]"
_PLAIN_SEPARATORS: Final = ("\n", "|", ";", ",", " / ")
SLASH: Final = "/"  # without blanks: for colours alone, because 10/12 is a size
_STRONG: Final = frozenset({"\n", "|", ";"})
_MAX_PART_CHARS: Final = 40
_MAX_PART_WORDS: Final = 4
_MAX_PARTS: Final = 60
_MAX_LIST_CHARS: Final = 20_000
_SHAPELESS: Final = 0.1  # texts with a separator that may have long or empty parts
_RECURRING_STRONG: Final = 0.2
_RECURRING_BESIDE: Final = 0.5  # beside another separator of the column
_RECURRING_FEW: Final = 0.75
_RECURRING_MANY: Final = 0.6
_FEW_TEXTS: Final = 3
_LIST_NAME: Final = re.compile(
    r"(?i:tags?|keywords?|labels?|(?:product_?)?colou?rs|farben|couleurs|colores|sizes|(?:available_?)?sizes|größen|"
    r"materials|materialien|features|occasions|collections|styles|schlagw[oö]rter|stichw[oö]rter)"
)
_COLOUR_NAME: Final = re.compile(r"(?i:(?:base_?|product_?)?colou?rs?|farben?|couleurs?|colori?|colores|цвет)")
_QUOTED: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_BLANK_BETWEEN_QUOTES: Final = re.compile(r"['\"]\s+['\"]")
# What JSON writes for a list of one number; a word in brackets is rather a note.
_ONE_IN_BRACKETS: Final = re.compile(r"\[\s*(?:-?[0-9.]+|true|false)\s*\]")
_PAIRS: Final = {"[": "]", "(": ")", "{": "}"}
_QUOTES: Final = "\"'\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"


def list_separators(texts: Sequence[str], attribute: str, *, is_list: bool = False) -> frozenset[str]:
    """The separators of lists in a column, by its distinct texts. Empty if its values are no lists.

    `is_list`: the column is known to hold lists, so that separators need no proof by recurring parts.
    """
    found: set[str] = set()
    if any(_evident_list(text) for text in texts):
        found.add(BRACKETS)
    candidates = [*_PLAIN_SEPARATORS, *([SLASH] if _COLOUR_NAME.fullmatch(attribute) else [])]
    split = {text: _split_at_strongest(text, candidates) for text in texts}
    counts = Counter(part for parts, _ in split.values() for part in {key_of(part) for part in parts})
    by_separator: dict[str, list[list[str]]] = {}
    for parts, separator in split.values():
        if separator is not None and separator != BRACKETS:
            by_separator.setdefault(separator, []).append(parts)
    whole = {key_of(text) for text, (_, separator) in split.items() if separator is None}
    named = is_list or _LIST_NAME.fullmatch(attribute) is not None
    for separator in candidates:
        rows = by_separator.get(separator, [])
        if not rows or not _has_shape(rows):
            continue
        recurring = _recurring(rows, counts)
        if separator in _STRONG:
            is_separator = named or recurring >= _RECURRING_STRONG or len(rows) <= _FEW_TEXTS
        elif found:
            is_separator = named or recurring >= _RECURRING_BESIDE
        else:
            enough = _RECURRING_MANY if len(rows) >= _FEW_TEXTS else _RECURRING_FEW
            is_separator = named or (recurring >= enough and _is_flexible(rows, whole))
        if is_separator:
            found.add(separator)
    return frozenset(found)


def read_list(text: str, separators: Iterable[str]) -> list[str]:
    """The keywords of a text, each once and in their order."""
    parts, _ = _split_at_strongest(text, [one for one in (*_PLAIN_SEPARATORS, SLASH) if one in separators])
    return list(dict.fromkeys(" ".join(part.split()) for part in parts if part.strip()))


def read_any_list(text: str) -> list[str]:
    """The keywords of a single text that has no column: a list in brackets, or one with bars, semicolons or commas."""
    return read_list(text, ("\n", "|", ";", ","))


def in_brackets(text: str) -> list[str] | None:
    """The texts of a list as JSON, Python, NumPy or PostgreSQL write it; None if the text is no such list."""
    if len(text) < 2 or len(text) > _MAX_LIST_CHARS or _PAIRS.get(text[0]) != text[-1]:
        return None
    inner = text[1:-1].strip()
    if not inner:
        return []
    if _BLANK_BETWEEN_QUOTES.search(inner) and "," not in inner:  # NumPy: ['Red' 'Blue']
        return [one or other for one, other in _QUOTED.findall(inner)]
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return None
        if isinstance(value, list | tuple | set | frozenset):
            return _plain_texts(sorted(value, key=str) if isinstance(value, set | frozenset) else value)
    if text[0] == "(" or ":" in inner or inner[0] in "{[":
        return None
    return _fields(inner, ",")


def key_of(part: str) -> str:
    """The form in which parts are compared."""
    return " ".join(part.split()).casefold()


def _evident_list(text: str) -> bool:
    if text[:1] not in _PAIRS:
        return False
    return (_ONE_IN_BRACKETS.fullmatch(text) is not None or any(mark in text for mark in "\"',")) and in_brackets(
        text
    ) is not None


def _plain_texts(values: Iterable[object]) -> list[str] | None:
    found = []
    for value in values:
        if value is None:
            continue
        if isinstance(value, bool):
            found.append("true" if value else "false")
        elif isinstance(value, str | int | float):
            found.append(str(value))
        else:
            return None
    return found


def _split_at_strongest(text: str, separators: Iterable[str]) -> tuple[list[str], str | None]:
    """The parts of a text, and the separator that they are split at; None if the text is one part."""
    if text[:1] in _PAIRS:
        listed = in_brackets(text)
        if listed is not None:
            return listed, BRACKETS
    for separator in separators:
        if separator in text:
            return _fields(text, separator), separator
    return [text], None


def _fields(text: str, separator: str) -> list[str]:
    if len(separator) == 1 and separator != "\n" and '"' in text and "\n" not in text and "\r" not in text:
        try:
            fields = next(csv.reader([text], delimiter=separator, skipinitialspace=True))
        except (csv.Error, StopIteration):
            fields = text.split(separator)
    elif "\\" in text:
        # WooCommerce writes a comma inside a value as `\,`.
        fields = [
            field.replace(f"\\{separator}", separator) for field in re.split(rf"(?<!\\){re.escape(separator)}", text)
        ]
    else:
        fields = text.split(separator)
    return [field for field in (field.strip().strip(_QUOTES).strip() for field in fields) if field]


def _has_shape(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the texts with a separator look like lists: short parts, not too many."""
    wrong = sum(
        len(parts) > _MAX_PARTS
        or any(len(part) > _MAX_PART_CHARS or len(part.split()) > _MAX_PART_WORDS for part in parts)
        for parts in rows
    )
    return wrong <= len(rows) * _SHAPELESS


def _recurring(rows: Sequence[Sequence[str]], counts: Counter[str]) -> float:
    """The share of parts that another text of the column has too."""
    parts = [key_of(part) for row in rows for part in row]
    return sum(counts[part] > 1 for part in parts) / len(parts) if parts else 0.0


def _is_flexible(rows: Sequence[Sequence[str]], whole: set[str]) -> bool:
    """Whether parts come alone, in varying number or in varying order, as in a list and not as in `Size 10, EU`."""
    if len({len(parts) for parts in rows}) > 1:
        return True
    places: dict[str, int] = {}
    for parts in rows:
        for place, part in enumerate(parts):
            key = key_of(part)
            if key in whole or places.setdefault(key, place) != place:
                return True
    return False
