"""Booleans as catalogues write them: true and false, yes and no in several languages, 1 and 0, in stock and not."""

from __future__ import annotations

import re
from typing import Final


class BooleanForms:
    """Bits: `WORD` is the reading, and the others are observations."""

    WORD: Final = 1
    TRUE: Final = 2
    FALSE: Final = 4
    PLAIN: Final = 8  # true, yes, ja: evident
    LETTER: Final = 16  # y, n, t, f: evident beside its opposite
    STOCK: Final = 32  # in stock: evident beside its opposite


_WORDS: Final[dict[str, tuple[bool, int]]] = {
    **{
        word: (value, BooleanForms.PLAIN)
        for value, words in (
            (True, "true yes ja oui si sí sim wahr vrai verdadero vero да tak"),
            (False, "false no nein non não falsch faux falso нет nie"),
        )
        for word in words.split()
    },
    **{letter: (value, BooleanForms.LETTER) for value, letters in ((True, "ytj"), (False, "nf")) for letter in letters},
    **{
        word: (value, BooleanForms.STOCK)
        for value, words in (
            (True, ("in stock", "instock", "available")),
            (False, ("out of stock", "outofstock", "not in stock", "sold out", "unavailable")),
        )
        for word in words
    },
    "1": (True, 0),
    "0": (False, 0),
}
_MAX_CHARS: Final = 16
_BOOLEAN_NAME: Final = re.compile(
    r"(?:[iI]s|[hH]as|[cC]an|IS|HAS|CAN)(?:_.*|[A-Z].*)"
    r"|(?i:in_?stock|.*_in_stock|published|active|enabled|visible|available|featured|on_?sale|sold_?out|new_?in|discontinued"
    r"|taxable|gift_card|backorders?_allowed|sold_individually|verf(?:ü|ue)gbar|auf_lager|aktiv|lieferbar)"
)


def boolean_forms(text: str) -> int:
    """Whether a text is a boolean, and what else was seen. Zero if it is none."""
    found = _find(text)
    if found is None:
        return 0
    value, form = found
    return BooleanForms.WORD | form | (BooleanForms.TRUE if value else BooleanForms.FALSE)


def are_booleans(shared: int, seen: int, attribute: str) -> bool:
    """Whether a column holds booleans, by what all its texts share and all that was seen.

    Zeros and ones alone are integers unless the column's name asks a question, such as `in_stock` or `isNew`.
    """
    if not shared & BooleanForms.WORD:
        return False
    has_both = bool(seen & BooleanForms.TRUE) and bool(seen & BooleanForms.FALSE)
    if seen & BooleanForms.PLAIN:
        return True
    if seen & BooleanForms.LETTER or seen & BooleanForms.STOCK:
        return has_both
    return _BOOLEAN_NAME.fullmatch(attribute) is not None


def read_boolean(text: str) -> bool | None:
    found = _find(text)
    return None if found is None else found[0]


def _find(text: str) -> tuple[bool, int] | None:
    if len(text) > _MAX_CHARS:
        return None
    return _WORDS.get(" ".join(text.lower().replace("_", " ").replace("-", " ").split()))
