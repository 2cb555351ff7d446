"""Keywords of a catalogue: their spelling, and the words that mean an unknown value."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vitrine.kinds import UNKNOWN_WORDS

# A spreadsheet is kept from changing a code by an apostrophe or a formula: '4006381333930, ="007"
_KEPT_CODE: Final = re.compile(r"'([0-9]+)|=\"([^\"]*)\"")


def known(text: str) -> str | None:
    """The text stripped of whitespace, or None if it means an unknown value."""
    text = text.strip()
    return None if text in UNKNOWN_WORDS else text


def plain_text(text: str) -> str:
    """The text without outer whitespace and without what a spreadsheet puts around a code."""
    text = text.strip()
    if text[:1] in ("'", "=") and (match := _KEPT_CODE.fullmatch(text)):
        return str(match[1] or match[2] or "")
    return text


def read_keyword(text: str) -> str | None:
    """A keyword as it is written, apart from doubled whitespace and the form of Unicode. None if nothing is left."""
    text = plain_text(text)
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split()) or None
