"""Read products from JSON: a list of objects, an object that holds such a list, or one object a line.

A list is decoded object by object, so that a large file needs no more memory than a small one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from vitrine.catalogs.records import Record
from vitrine.catalogs.table_files import MAX_ROW_CHARS, TableFile
from vitrine.catalogs.text_blocks import text_blocks
from vitrine.catalogs.text_encoding import TextEncoding
from vitrine.errors import CatalogMalformed

_SPACE: Final = re.compile(r"[ \t\r\n\ufeff]*")
_LINE_SUFFIXES: Final = (".jsonl", ".ndjson")
_SHOWN_CHARS: Final = 60
_BLOCK_BYTES: Final = 1 << 20


class _Number(float):
    """A number that keeps its text, such as 19.90."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __str__(self) -> str:
        return self._text


_DECODER: Final = json.JSONDecoder(parse_float=_Number, strict=False)


def is_json(head: bytes, encoding: TextEncoding, suffix: str) -> bool:
    """Whether a file is JSON, by its first characters and the suffix of its name."""
    text = head[encoding.skip_bytes :].decode(encoding.codec, errors="replace").lstrip("\ufeff \t\r\n")
    if suffix in (".json", *_LINE_SUFFIXES):
        return text.startswith(("{", "["))
    return re.match(r'\{\s*"[^"]*"\s*:|\[\s*\{\s*["}]', text) is not None


def is_one_a_line(file: TableFile, encoding: TextEncoding, suffix: str) -> bool:
    """Whether each line of a JSON file is an object of its own."""
    if suffix in _LINE_SUFFIXES:
        return True
    lines = (line for block in text_blocks(file, encoding) for line in block.text.split("\n"))
    full = (line for line in lines if line.strip("\ufeff \t\r"))
    first, second = next(full, ""), next(full, "")
    if not first.lstrip("\ufeff \t").startswith("{") or not second.lstrip().startswith("{"):
        return False
    try:
        return isinstance(_DECODER.decode(first.strip("\ufeff \t\r")), dict)
    except (ValueError, RecursionError):
        return False


def json_lines(file: TableFile, encoding: TextEncoding) -> Iterator[Record]:
    """The objects of JSON lines. A line that cannot be read costs only itself."""
    number = 0
    for block in text_blocks(file, encoding):
        lines = block.text.split("\n")
        if not lines[-1]:
            lines.pop()
        for line in lines:
            number += 1
            if not (text := line.strip("\ufeff \t\r")):
                continue
            try:
                value = _DECODER.decode(text) if len(text) <= MAX_ROW_CHARS else None
            except (ValueError, RecursionError):
                value = None
            yield Record(number, value if isinstance(value, dict) else None)


def json_list(file: TableFile, encoding: TextEncoding) -> Iterator[Record]:
    """The objects of the first list of objects in a JSON file, which may be inside of objects.

    Raises CatalogMalformed if there is no such list, or if the JSON is malformed.
    """
    text = _Text(file, encoding)
    if not _enter_list(text):
        raise CatalogMalformed(
            f"{file.path} has no list of products; "
            'it needs a list of objects such as [{"id": "1", "image": "1.jpg"}], or an object with such a list'
        )
    while text.peek() != "]":
        line = text.line()
        value = text.value()
        yield Record(line, value if isinstance(value, dict) else None)
        if text.peek() == ",":
            text.skip()
        elif text.peek() != "]":
            raise text.malformed("a comma or ] is expected after an object")


def _enter_list(text: _Text) -> bool:
    """Move to the first object of the first list of objects. False if there is none."""
    mark = text.peek()
    if mark == "[":
        text.skip()
        return text.peek() in ("{", "]")
    if mark != "{":
        return False
    text.skip()
    while text.peek() == '"':
        text.value()
        if text.peek() != ":":
            raise text.malformed("a colon is expected after a name")
        text.skip()
        if text.peek() == "[":
            text.skip()
            if text.peek() == "{":
                return True
            _skip_list(text)
        elif text.peek() == "{":
            if _enter_list(text):
                return True
        else:
            text.value()
        if text.peek() == ",":
            text.skip()
    if text.peek() != "}":
        raise text.malformed("a name or } is expected")
    text.skip()
    return False


def _skip_list(text: _Text) -> None:
    while text.peek() != "]":
        text.value()
        if text.peek() == ",":
            text.skip()
        elif text.peek() != "]":
            raise text.malformed("a comma or ] is expected")
    text.skip()


class _Text:
    """The file's text from the current place on, read as it is needed."""

    def __init__(self, file: TableFile, encoding: TextEncoding) -> None:
        self._path = file.path
        self._blocks = text_blocks(file, encoding, max_line_bytes=_BLOCK_BYTES)
        self._text = ""
        self._at = 0
        self._line = 1  # of the character at `_counted`
        self._counted = 0

    def peek(self) -> str:
        """The next character that is not blank, or nothing at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr] # matches the empty text too
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        self._at += 1

    def value(self) -> Any:
        """Decode the value at the current place. Raises CatalogMalformed."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.malformed("values are nested too deeply") from None
            except ValueError as error:
                if len(self._text) - self._at > MAX_ROW_CHARS or not self._more():
                    raise self.malformed(str(error)) from None
            else:
                if end == len(self._text) and self._more():  # a number may go on
                    continue
                self._at = end
                return value

    def line(self) -> int:
        """The line of the current place, from 1."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def malformed(self, what: str) -> CatalogMalformed:
        rest = self._text[self._at : self._at + _SHOWN_CHARS]
        where = f"near {rest!r}" if rest else "where the file ends"
        return CatalogMalformed(
            f"{self._path} is not valid JSON in line {self.line()}, {where} ({what}); write it again"
        )

    def _more(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self.line()
        self._text = self._text[self._at :] + block.text
        self._at = self._counted = 0
        return True
