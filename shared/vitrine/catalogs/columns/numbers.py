"""Read numbers and prices as catalogues write them: decimal points and commas, thousands separators, currencies.

One text may have several readings: `1,299` is 1299 with a decimal point and 1.299 with a decimal comma. So
`number_forms` returns every possible reading, the readings that all texts of a column share are kept, and `Notation` is
chosen from these.
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

from price_parser import Price

# Outside groups of thousands, a leading zero is part of a code (a size, an article number) and not of a quantity.
_WHOLE: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")  # 18 digits always fit 64 bits
_PLAIN: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_YEAR: Final = re.compile(r"([12][0-9]{3})(?:\.0+)?")
_BLANK: Final = "[ \u00a0\u2009\u202f'\u2019]"
_POINT: Final = re.compile(
    rf"[+-]?(?:[1-9][0-9]{{0,2}}(?:(?:,[0-9]{{3}}){{1,4}}|(?:{_BLANK}[0-9]{{3}}){{1,4}})|[1-9][0-9]?(?:,[0-9]{{2}}){{1,4}},[0-9]{{3}}"
    r"|0|[1-9][0-9]{0,17}|(?=\.))(?:\.[0-9]{1,18})?"
)
_COMMA: Final = re.compile(
    rf"[+-]?(?:[1-9][0-9]{{0,2}}(?:(?:\.[0-9]{{3}}){{1,4}}|(?:{_BLANK}[0-9]{{3}}){{1,4}})|0|[1-9][0-9]{{0,17}}|(?=,))(?:,[0-9]{{1,18}})?"
)
# `1,299` and `1.299` need their column; `1,299.00`, `19,9` and `1.299.000` do not.
_SIMPLE: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})[.,][0-9]{1,18}")
_DIGIT: Final = re.compile("[0-9]")
_AMBIGUOUS: Final = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_SEPARATORS: Final = re.compile(r"[ \u00a0\u2009\u202f'\u2019,.]")
_WRITTEN_MINUS: Final = str.maketrans({"\u2212": "-", "\u2013": "-"})
# What stands for no cents: 19,- and 19.-
_NO_CENTS: Final = re.compile(r"(?<=[0-9])[.,](?:-+|\u2013|\u2014)$")
_CODE: Final = re.compile(r"[A-Z]{3}")
_MAX_CHARS: Final = 40

_MONEY: Final = re.compile(
    r"([+-]?)\s*([^\d\s,+'\u2019-][^\d,+'\u2019-]{0,9}?)?\s*([+-]?[.,]?\d.*?)\s*([^\d\s,.+'\u2019-][^\d,+'\u2019]{0,9})?"
)

# Codes that are rather words or sizes, and those of ISO 4217 that nobody pays with.
_NOT_PAID: Final = frozenset({"ALL", "TOP", "CUP", "BAM", "VAL", "XXX", "XTS", "STD"})
# What price-parser finds and does not name by its code.
_ISO_OF: Final = {
    "$": "USD", "US$": "USD", "$US": "USD", "€": "EUR", "EURO": "EUR", "EUROS": "EUR", "£": "GBP", "¥": "JPY",
    "￥": "JPY", "円": "JPY", "CN¥": "CNY", "RMB": "CNY", "元": "CNY", "₹": "INR", "RS": "INR", "RS.": "INR",
    "₨": "INR", "ZŁ": "PLN", "ZŁ.": "PLN", "KČ": "CZK", "FT": "HUF", "LEI": "RON", "FR.": "CHF", "SFR": "CHF",
    "SFR.": "CHF", "₽": "RUB", "РУБ": "RUB", "РУБ.": "RUB", "\u0420.": "RUB", "₴": "UAH", "ГРН": "UAH",
    "ГРН.": "UAH", "₺": "TRY", "TL": "TRY", "₩": "KRW", "원": "KRW", "฿": "THB", "₫": "VND", "₪": "ILS",
    "₱": "PHP", "₦": "NGN", "₸": "KZT", "₾": "GEL", "₼": "AZN", "R$": "BRL", "A$": "AUD", "AU$": "AUD",
    "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD", "S$": "SGD", "MX$": "MXN", "NT$": "TWD",
    "AR$": "ARS", "CL$": "CLP", "CO$": "COP", "RD$": "DOP", "RP": "IDR", "RP.": "IDR", "RM": "MYR", "ЛВ": "BGN",
    "ЛВ.": "BGN", "DKR": "DKK", "SKR": "SEK", "NKR": "NOK", "DH": "AED", "DHS": "AED", "AED.": "AED",
    "د.إ": "AED", "SR": "SAR", "ر.س": "SAR",
    # Several countries use these, so they stay as they are.
    "KR": "kr", "KR.": "kr",
}  # fmt: skip


class NumberForms:
    """Bits: the readings of a text as a number, and what else was seen in it. Plain integers, because millions of texts
    are tested.
    """

    WHOLE: Final = 1  # digits only
    POINT: Final = 2  # with a decimal point
    COMMA: Final = 4  # with a decimal comma
    EITHER: Final = 8  # the decimal sign is evident in the text itself
    READINGS: Final = 15
    # Observations:
    CURRENCY: Final = 16
    GROUPED_POINT: Final = 32  # thousands, if the decimal sign is a point
    GROUPED_COMMA: Final = 64
    CENTS_POINT: Final = 128  # decimals, if the decimal sign is a point
    CENTS_COMMA: Final = 256


_UNGROUPED: Final = NumberForms.POINT | NumberForms.COMMA | NumberForms.EITHER
_WITH_POINT: Final = NumberForms.POINT | NumberForms.CENTS_POINT | NumberForms.EITHER
_WITH_COMMA: Final = NumberForms.COMMA | NumberForms.CENTS_COMMA | NumberForms.EITHER
_WITH_EXPONENT: Final = _WITH_POINT | NumberForms.CENTS_COMMA


class Notation(StrEnum):
    """How the numbers of a column are written."""

    POINT = "point"
    COMMA = "comma"
    EITHER = "either"  # both occur, and each number shows which it has


def read_year(text: str) -> int | None:
    """A year from 1000 to 2999, also if a spreadsheet wrote it as 2014.0; None for anything else."""
    match = _YEAR.fullmatch(text)
    return int(match[1]) if match else None


def whole_number(text: str) -> int | None:
    """An integer of at most 18 digits without leading zeros, or None."""
    return int(text) if _WHOLE.fullmatch(text) else None


def number(text: str) -> float | None:
    """A finite decimal number with a point and without leading zeros, or None."""
    if not _PLAIN.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def number_forms(text: str) -> int:
    """The readings of a text as a number, without or with a currency. Zero if it is not a number."""
    if _WHOLE.fullmatch(text):
        return NumberForms.READINGS
    if _SIMPLE.fullmatch(text):
        return _forms_of(text)
    if len(text) > _MAX_CHARS or not _DIGIT.search(text):
        return 0
    if ("e" in text or "E" in text) and number(text) is not None:
        return _WITH_EXPONENT if "." in text else _WITH_EXPONENT | NumberForms.COMMA
    amount, currency = _split_currency(text)
    forms = _forms_of(amount)
    if not forms or (currency is None and not _NO_CENTS.search(text)):
        return forms
    return forms | NumberForms.CURRENCY


def _forms_of(amount: str) -> int:
    if _WHOLE.fullmatch(amount):
        return _UNGROUPED
    if _SIMPLE.fullmatch(amount) and not _AMBIGUOUS.fullmatch(amount):
        return _WITH_POINT if "." in amount else _WITH_COMMA
    forms = 0
    if _POINT.fullmatch(amount):
        whole, _, cents = amount.partition(".")
        forms |= NumberForms.POINT
        forms |= NumberForms.CENTS_POINT if cents else 0
        forms |= NumberForms.GROUPED_POINT if "," in whole else 0
    if _COMMA.fullmatch(amount):
        whole, _, cents = amount.partition(",")
        forms |= NumberForms.COMMA
        forms |= NumberForms.CENTS_COMMA if cents else 0
        forms |= NumberForms.GROUPED_COMMA if "." in whole else 0
    return forms | NumberForms.EITHER if forms and not _AMBIGUOUS.fullmatch(amount) else forms


def notation_of(shared: int, seen: int) -> Notation | None:
    """The notation of a column, by the readings that all its texts share and all that was seen. None: no numbers."""
    point, comma = shared & NumberForms.POINT, shared & NumberForms.COMMA
    if point and comma:
        # Every separator stands before three digits. A comma is a thousands separator then; a point is a decimal sign,
        # except in a price: nobody asks 1.299 euros with three decimals.
        if seen & NumberForms.CURRENCY and seen & NumberForms.GROUPED_COMMA and not seen & NumberForms.GROUPED_POINT:
            return Notation.COMMA
        return Notation.POINT
    if point:
        return Notation.POINT
    if comma:
        return Notation.COMMA
    if shared & NumberForms.EITHER and seen & NumberForms.CURRENCY:
        return Notation.EITHER
    return None


def has_decimals(notation: Notation, seen: int) -> bool:
    """Whether a column of this notation has decimals, so that its numbers are not integers."""
    if notation == Notation.POINT:
        return bool(seen & NumberForms.CENTS_POINT)
    if notation == Notation.COMMA:
        return bool(seen & NumberForms.CENTS_COMMA)
    return True


def read_number(text: str, notation: Notation) -> float | None:
    """The number in a text, without its currency; None if it is none."""
    return read_price(text, notation)[0]


def read_any_number(text: str) -> float | None:
    """The number in a single text that has no column: `1,299` is 1299, and `1.299` is 1.299."""
    forms = number_forms(text)
    notation = notation_of(forms, forms)
    return read_number(text, notation) if notation is not None else None


def read_price(text: str, notation: Notation) -> tuple[float | None, str | None]:
    """The amount and the currency: its ISO code where it is known, else as it is written. None if there is none."""
    if notation != Notation.COMMA or not _AMBIGUOUS.fullmatch(text):
        plain = number(text)
        if plain is not None:
            return plain, None
    amount, currency = _split_currency(text)
    return _read_amount(amount, notation), currency


def _read_amount(amount: str, notation: Notation) -> float | None:
    if notation == Notation.EITHER:
        notation = Notation.COMMA if not _POINT.fullmatch(amount) else Notation.POINT
    wanted = _POINT if notation == Notation.POINT else _COMMA
    if not wanted.fullmatch(amount):
        return None
    whole, _, cents = amount.partition("." if notation == Notation.POINT else ",")
    value = float(f"{_SEPARATORS.sub('', whole) or '0'}.{cents or '0'}")
    return value if math.isfinite(value) else None


def _split_currency(text: str) -> tuple[str, str | None]:
    """The number in a text as it is written, and the currency before or after it.

    A word that is not a currency stays, so that `Size 10` and `10 cm` are no prices.
    """
    text = text.translate(_WRITTEN_MINUS) if not text.isascii() else text
    match = _MONEY.fullmatch(text)
    if match is None:
        return text, None
    sign, before, amount, after = match.groups()
    if not amount[-1].isdigit():
        amount = _NO_CENTS.sub("", amount)
    if not before and not after:
        return (sign + amount) if amount != text else text, None
    if before and amount.startswith(".") and _currency(f"{before}."):
        before, amount = f"{before}.", amount[1:]  # Rs.500
    first, last = _currency(before) if before else None, _currency(after) if after else None
    if (before and first is None) or (after and last is None):
        return text, None
    return sign + amount, last if last is not None and (first is None or _CODE.fullmatch(last)) else first


def _known_currency(word: str) -> bool:
    return Price.fromstring(f"{word} 1").currency == word


@lru_cache(maxsize=1024)
def _currency(word: str) -> str | None:
    """The currency that a word means, or None. A word of one or two letters is rather a size: 36 L, FR 36."""
    word = word.strip()
    upper = word.upper().replace(" ", "")
    if upper in _ISO_OF:
        return _ISO_OF[upper]
    if _CODE.fullmatch(upper):
        return upper if upper not in _NOT_PAID and _known_currency(upper) else None
    return word if not word.isascii() and _known_currency(word) else None
