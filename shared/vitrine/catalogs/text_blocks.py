"""The text of a table's file in blocks of whole lines, so that a large file is never in memory as a whole."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import NamedTuple

from vitrine.catalogs.table_files import MAX_ROW_CHARS, TableFile
from vitrine.catalogs.text_encoding import MAX_LINE_BYTES, TextEncoding, byte_blocks, decoded


class TextBlock(NamedTuple):
    """Lines of a file, each with its line end. `converted` are the indexes of those that are not UTF-8 in a file that
    otherwise is.
    """

    text: str
    converted: frozenset[int] = frozenset()


def text_blocks(
    file: TableFile, encoding: TextEncoding, line_end: str = "\n", *, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[TextBlock]:
    """The file's text. Bytes that the encoding does not have are replaced by U+FFFD.

    A line that is longer than `max_line_bytes` may be in several blocks.
    """
    if encoding.is_wide:
        yield from _wide_blocks(file, encoding, line_end, max_line_bytes)
        return
    end = line_end.encode()
    decoder = codecs.getincrementaldecoder(encoding.codec)(errors="replace")
    for data in byte_blocks(file, end, skip_bytes=encoding.skip_bytes, max_line_bytes=max_line_bytes):
        if not encoding.is_mixed:
            yield TextBlock(decoder.decode(data))
            continue
        try:
            yield TextBlock(data.decode())
        except UnicodeDecodeError:
            lines = [decoded(line) for line in data.split(end)]
            converted = frozenset(index for index, (_, is_utf8) in enumerate(lines) if not is_utf8)
            yield TextBlock(line_end.join(text for text, _ in lines), converted)
    if not encoding.is_mixed and (last := decoder.decode(b"", final=True)):
        yield TextBlock(last)


def _wide_blocks(file: TableFile, encoding: TextEncoding, line_end: str, max_line_bytes: int) -> Iterator[TextBlock]:
    decoder = codecs.getincrementaldecoder(encoding.codec)(errors="replace")
    parts: list[str] = []
    held_chars = 0
    skip_bytes = encoding.skip_bytes
    for block in file.blocks():
        text = decoder.decode(block[skip_bytes:])
        skip_bytes = 0
        cut = text.rfind(line_end) + 1
        if not cut:
            parts.append(text)
            held_chars += len(text)
            if held_chars > max_line_bytes:
                yield TextBlock("".join(parts))
                parts, held_chars = [], 0
            continue
        yield TextBlock("".join([*parts, text[:cut]]))
        parts, held_chars = [text[cut:]], len(text) - cut
    if last := "".join([*parts, decoder.decode(b"", final=True)]):
        yield TextBlock(last)


def find_line_end(file: TableFile, encoding: TextEncoding) -> str:
    """The separator of rows: the first line break outside quotation marks; LF also stands for CRLF."""
    quotes = seen_chars = 0
    held = ""
    has_newline = False
    for block in text_blocks(file, encoding):
        text = held + block.text
        start = 0
        while (at := _line_break(text, start)) is not None:
            quotes += text.count('"', start, at)
            if quotes % 2 == 0 and text[start:at].strip():
                return "\r" if text[at] == "\r" and text[at + 1 : at + 2] != "\n" else "\n"
            start = at + 1
        has_newline = has_newline or "\n" in text
        held = text[start:]
        seen_chars += start
        if seen_chars + len(held) > MAX_ROW_CHARS:
            break
    return "\r" if "\r" in held and not has_newline else "\n"


def _line_break(text: str, start: int) -> int | None:
    found = [at for at in (text.find("\n", start), text.find("\r", start)) if at >= 0]
    return min(found, default=None)
