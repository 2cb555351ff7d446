"""Escape text for a terminal. Text from catalogues, records and other services may contain control characters, which
could hide lines, change the window title or reorder the text.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

# C0 and C1 controls, direction controls, line separators, zero-width marks, lone surrogates and invisible tags. Joiners
# are kept: scripts and emoji need them.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_UNPRINTABLE_BUT_LINES: Final = re.compile(_UNPRINTABLE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with control characters escaped, e.g. as `\\x1b`; with `lines`, line breaks are kept."""
    return (_UNPRINTABLE_BUT_LINES if lines else _UNPRINTABLE).sub(_escaped, text)


def printable_json(value: Any) -> str:
    """`value` as indented JSON, with control characters escaped, e.g. as `\\u001b`."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNPRINTABLE_BUT_LINES.sub(lambda match: json.dumps(match[0])[1:-1], text)


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    if match[0] in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[match[0]]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
