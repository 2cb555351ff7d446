"""Free text: prose is told from keywords by its length, its words and its markup, and is stored without HTML."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_TAG: Final = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>|<!--")
_ENTITY: Final = re.compile(r"&(?:[A-Za-z]{2,10}|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});")
# No parser: a million descriptions are read, and what is left is shown as text, never as HTML.
_UNSEEN: Final = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK: Final = re.compile(r"</?(?:p|br|div|li|ul|ol|dl|dt|dd|tr|table|h[1-6]|section|hr)\b[^<>]*>", re.IGNORECASE)
_INLINE: Final = re.compile(r"</?[A-Za-z!][^<>]*>")
_NAMES: Final = re.compile(r"(?i:(?:product_?)?(?:display_?)?name|(?:product_?|item_?)?title|produktname|titel)")
_PROSE_NAMES: Final = re.compile(
    r"(?i:(?:.*_)?(?:description|body|body_html|details?|beschreibung|kurzbeschreibung|produktbeschreibung|"
    r"descripci[oó]n|descrizione|omschrijving|opis|описание)(?:_.*)?|detail_desc|.*_desc)"
)
_URL: Final = re.compile(r"https?://\S+", re.IGNORECASE)
_LONG_MEAN_CHARS: Final = 100
_PROSE_MEAN_WORDS: Final = 4.0
_PROSE_DISTINCT: Final = 0.8
_PROSE_MIN_ROWS: Final = 5
_CODE_MEAN_CHARS: Final = 20
_MOST: Final = 0.5
_MAX_HTML_CHARS: Final = 20_000
_MAX_CHARS: Final = 4_000  # of what is stored, which is more than a page shows


@dataclass(slots=True)
class ProseStatistics:
    """What decides whether a column is free text: sums over its rows, the order of which does not matter."""

    rows: int = 0
    chars: int = 0
    words: int = 0
    with_markup: int = 0
    links: int = 0

    def add(self, text: str, count: int = 1) -> None:
        self.rows += count
        self.chars += len(text) * count
        self.words += len(text.split()) * count if len(text) < 1_000 else (text.count(" ") + 1) * count
        if "<" in text and _TAG.search(text):
            self.with_markup += count
        elif text[:4].lower() == "http" and _URL.fullmatch(text):
            self.links += count

    def scale(self, factor: float) -> None:
        self.rows, self.chars, self.words = (round(one * factor) for one in (self.rows, self.chars, self.words))
        self.with_markup, self.links = round(self.with_markup * factor), round(self.links * factor)

    def merged(self, other: ProseStatistics) -> ProseStatistics:
        return ProseStatistics(
            self.rows + other.rows,
            self.chars + other.chars,
            self.words + other.words,
            self.with_markup + other.with_markup,
            self.links + other.links,
        )

    def is_prose(self, attribute: str, *, distinct: float) -> bool:
        """Whether the column is free text. `distinct` is the share of rows whose text no other row has."""
        if is_named_text(attribute):
            return True
        if not self.rows:
            return False
        if self.with_markup >= _MOST * self.rows:
            return True
        mean_chars, mean_words = self.chars / self.rows, self.words / self.rows
        if _PROSE_NAMES.fullmatch(attribute):
            return mean_chars >= _CODE_MEAN_CHARS or mean_words >= 2
        if self.links == self.rows or mean_chars >= _LONG_MEAN_CHARS:
            return True
        return self.rows >= _PROSE_MIN_ROWS and mean_words >= _PROSE_MEAN_WORDS and distinct >= _PROSE_DISTINCT


def is_named_text(attribute: str) -> bool:
    """Whether the attribute is the product's name or title, which is always free text."""
    return _NAMES.fullmatch(attribute) is not None


def read_text(text: str) -> str | None:
    """Free text without HTML and doubled blanks; lines are kept. None if nothing is left."""
    if "<" in text and _TAG.search(text):
        text = _UNSEEN.sub(" ", text[:_MAX_HTML_CHARS])
        text = html.unescape(_INLINE.sub("", _BLOCK.sub("\n", text)))
    elif "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", text).splitlines())
    return "\n".join(line for line in lines if line)[:_MAX_CHARS].rstrip() or None
