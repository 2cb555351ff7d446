"""Find the encoding of a table's text.

UTF-8, UTF-16 and UTF-32 are recognised by their byte order mark or by their form. Any other is looked for in the lines
that are not UTF-8: a Latin encoding whose letters are those of one language, else what charset-normalizer finds, else
Windows-1252. (charset-normalizer alone confuses the Latin encodings of short texts, such as product names.)
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vitrine.catalogs.table_files import MAX_ROW_CHARS, TableFile

FALLBACK: Final = "cp1252"
_MAX_SAMPLE_BYTES: Final = 100_000
# Longer than any row; JSON may be a single line.
MAX_LINE_BYTES: Final = 6 * MAX_ROW_CHARS
# Fewer bytes beside ASCII say nothing about a language.
_MIN_BYTES: Final = 8
_MIN_COVERED: Final = 0.95
_MIN_COHERENCE: Final = 0.2


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How to decode a file. If `is_mixed`, lines that are not UTF-8 are decoded as Windows-1252.

    `skip_bytes` is the length of the byte order mark.
    """

    codec: str
    skip_bytes: int = 0
    is_mixed: bool = False

    @property
    def name(self) -> str:
        """The name that is shown: UTF-8, Windows-1251, Shift JIS."""
        return _SHOWN.get(self.codec, self.codec)

    @property
    def is_wide(self) -> bool:
        """Whether a character of ASCII has several bytes."""
        return self.codec in _WIDE


_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE: Final = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_SHOWN: Final = {
    "utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-32-le": "UTF-32", "utf-32-be": "UTF-32",
    "cp1250": "Windows-1250", "cp1251": "Windows-1251", "cp1252": "Windows-1252", "cp1253": "Windows-1253",
    "cp1254": "Windows-1254", "cp1255": "Windows-1255", "cp1256": "Windows-1256", "cp1257": "Windows-1257",
    "mac_roman": "Mac Roman", "cp850": "DOS (cp850)", "cp866": "DOS (cp866)", "cp932": "Shift JIS", "euc_jp": "EUC-JP",
    "gb18030": "GB 18030", "big5": "Big5", "cp949": "EUC-KR", "koi8_r": "KOI8-R",
}  # fmt: skip

_WESTERN: Final = (
    "äöüß", "àâæçéèêëîïôœùûüÿ", "áéíóúñüªº", "ãõáâàçéêíóôúü", "àèéìíòóùú", "åäöé", "æøåéèêòóô", "áæéðíóúýþö",
    "éëïöüáóúíèê", "àèéíïòóúüç", "äõöüšž",
)  # fmt: skip
# codec -> the letters beside a to z of each language that is written in it
_LATIN: Final = {
    "cp1252": _WESTERN,
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž"),
    "cp1254": ("çğıöşüâîû",),
    "cp1257": ("āčēģīķļņšūž", "ąčęėįšųūž"),
    "mac_roman": _WESTERN,
    "cp850": _WESTERN,
}
# Punctuation and signs of any language, and those that may follow a letter.
_SIGN_CATEGORIES: Final = frozenset({"Sc", "No", "Po", "Pd", "Pi", "Pf", "Zs"})
_SIGNS: Final = frozenset("©®™°±×")  # noqa: RUF001 - the sign of multiplication, as in 30 x 40
_AFTER_LETTERS: Final = frozenset("©®™\u2018\u2019\u201c\u201d\u2026\u2013\u2014»°")
_OTHER_SCRIPTS: Final = (
    "cp932", "euc_jp", "gb18030", "big5", "cp949", "cp1251", "koi8_r", "cp866", "cp1253", "cp1255", "cp1256",
)  # fmt: skip


def find_encoding(file: TableFile) -> TextEncoding:
    """The encoding of a file, from all of its bytes."""
    for mark, codec in _MARKS:
        if file.head.startswith(mark):
            if codec == "utf-8":
                return TextEncoding(codec, len(mark), is_mixed=_lines(file)[1] > 0)
            return TextEncoding(codec, len(mark))
    for codec in _WIDE:
        if _is_wide(file.head, codec):
            return TextEncoding(codec)
    in_utf8, not_in_utf8, sample = _lines(file)
    if not not_in_utf8:
        return TextEncoding("utf-8")
    if in_utf8 * 2 >= not_in_utf8:  # text of another encoding is hardly ever valid UTF-8
        return TextEncoding("utf-8", is_mixed=True)
    return TextEncoding(_eight_bit(sample))


def _is_wide(head: bytes, codec: str) -> bool:
    """Whether text without a byte order mark is in UTF-16 or UTF-32: it has the zero bytes of its ASCII characters."""
    if head.count(0) * 20 < len(head):
        return False
    width = 4 if "32" in codec else 2
    try:
        text = head[: len(head) // width * width].decode(codec)
    except UnicodeDecodeError as error:
        if error.start < len(head) - 2 * width:  # otherwise the head ends inside a character
            return False
        text = head[: error.start].decode(codec)
    ascii_chars = sum(character.isascii() for character in text)
    return "\0" not in text and ascii_chars * width * 2 >= head.count(0) and any(mark in text for mark in ",;\t|\n\r:>")


def _lines(file: TableFile) -> tuple[int, int, bytes]:
    """The number of lines that are UTF-8 but not ASCII, and that are not UTF-8; and a sample of the latter."""
    in_utf8 = not_in_utf8 = sample_bytes = 0
    sample: dict[bytes, None] = {}
    for block in byte_blocks(file, b"\n", max_line_bytes=0):
        if block.isascii():
            continue
        try:
            text = block.decode()
        except UnicodeDecodeError:
            pass
        else:
            in_utf8 += sum(not line.isascii() for line in text.split("\n"))
            continue
        for line in block.splitlines():
            if line.isascii():
                continue
            if decoded(line)[1]:
                in_utf8 += 1
                continue
            not_in_utf8 += 1
            if sample_bytes < _MAX_SAMPLE_BYTES and line not in sample:
                sample[line[:_MAX_SAMPLE_BYTES]] = None
                sample_bytes += len(line)
    return in_utf8, not_in_utf8, b"\n".join(sample)


def byte_blocks(
    file: TableFile, line_end: bytes, *, skip_bytes: int = 0, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[bytes]:
    """The file's bytes in blocks that end at a line end, or at a comma if a line is longer than `max_line_bytes`."""
    parts: list[bytes] = []
    held_bytes = 0
    for block in file.blocks():
        data = block[skip_bytes:]
        skip_bytes = max(0, skip_bytes - len(block))
        cut = data.rfind(line_end) + len(line_end)
        if cut < len(line_end):
            parts.append(data)
            held_bytes += len(data)
            if held_bytes > max_line_bytes:
                held = b"".join(parts)
                cut = held.rfind(b",") + 1 or len(held)
                yield held[:cut]
                parts, held_bytes = [held[cut:]], len(held) - cut
            continue
        parts.append(data[:cut])
        yield b"".join(parts)
        parts, held_bytes = [data[cut:]], len(data) - cut
    if last := b"".join(parts):
        yield last


def decoded(line: bytes) -> tuple[str, bool]:
    """The line's text, and whether it is UTF-8; otherwise it is read as Windows-1252."""
    try:
        return line.decode(), True
    except UnicodeDecodeError:
        return line.decode(FALLBACK, errors="replace"), False


def _eight_bit(sample: bytes) -> str:
    if sum(byte > 127 for byte in sample) < _MIN_BYTES:
        return FALLBACK
    covered = {codec: _covered(sample, codec) for codec in _LATIN}
    best = max(covered, key=lambda codec: (covered[codec], codec == FALLBACK))
    if covered[FALLBACK] >= _MIN_COVERED and covered[best] - covered[FALLBACK] < 0.02:
        return FALLBACK
    if covered[best] >= _MIN_COVERED:
        return best
    from charset_normalizer import from_bytes  # takes a tenth of a second to import, for files that are seldom seen

    found = from_bytes(sample, cp_isolation=[*_OTHER_SCRIPTS, FALLBACK]).best()
    if found is None or found.encoding not in _OTHER_SCRIPTS:
        return FALLBACK
    is_sure = _is_east_asian(str(found)) if found.multi_byte_usage else found.coherence >= _MIN_COHERENCE
    return found.encoding if is_sure else FALLBACK


def _is_east_asian(text: str) -> bool:
    """Whether nearly all characters beside ASCII are those of Chinese, Japanese and Korean."""
    others = [character for character in text if not character.isascii()]
    wide = sum(unicodedata.east_asian_width(character) in ("W", "F") for character in others)
    return wide >= _MIN_COVERED * len(others)


def _covered(sample: bytes, codec: str) -> float:
    """The largest share of the characters beside ASCII that are letters of one language.

    Signs are left out, unless they follow a letter: there they are a letter of another encoding.
    """
    text = sample.decode(codec, errors="replace").lower().replace("\u0307", "")  # the dot of a Turkish capital i
    counts: Counter[str] = Counter()
    before = ""
    for character in text:
        if not (character.isascii() or character in _AFTER_LETTERS or (_is_sign(character) and not before.isalpha())):
            counts[character] += 1
        before = character
    total = counts.total()
    if not total:
        return 1.0
    return max(sum(counts[letter] for letter in letters) for letters in _LATIN[codec]) / total


def _is_sign(character: str) -> bool:
    return character in _SIGNS or unicodedata.category(character) in _SIGN_CATEGORIES
