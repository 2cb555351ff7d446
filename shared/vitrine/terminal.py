"""Text for a terminal. What comes from outside (catalogues, records, other services) may hold characters that a
terminal obeys: they could hide lines, change the title, or show text in another order than it is written.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

# C0 and C1 controls, what reorders text, line separators, marks without a width that hide in names, half a surrogate
# pair, and invisible tags. Joiners stay: scripts and emoji need them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_UNPRINTABLE_BUT_LINES: Final = re.compile(_UNPRINTABLE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with each character that a terminal would obey written out, as `\\x1b`; with `lines`, line breaks stay."""
    return (_UNPRINTABLE_BUT_LINES if lines else _UNPRINTABLE).sub(_written_out, text)


def printable_json(value: Any) -> str:
    """`value` as JSON for people and programs: the same value, with such characters as `\\u001b`."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNPRINTABLE_BUT_LINES.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _written_out(match: re.Match[str]) -> str:
    number = ord(match[0])
    if match[0] in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[match[0]]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
