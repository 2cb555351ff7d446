"""Decide the kind of a column by its sample, and make the parser of its texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vitrine.catalogs.columns.booleans import BooleanForms, are_booleans, read_boolean
from vitrine.catalogs.columns.dates import DateOrders, read_date
from vitrine.catalogs.columns.free_text import is_named_text, read_text
from vitrine.catalogs.columns.keywords import read_keyword
from vitrine.catalogs.columns.lists import list_separators, read_list
from vitrine.catalogs.columns.numbers import (
    Notation,
    NumberForms,
    has_decimals,
    notation_of,
    read_number,
    read_price,
    read_year,
)
from vitrine.catalogs.columns.paths import path_form
from vitrine.catalogs.columns.sample import Candidate, ColumnSample, Example
from vitrine.products import STANDARD_ATTRIBUTES, AttributeKind, AttributeValue

Parser = Callable[[str], AttributeValue | None]
PriceParser = Callable[[str], tuple[float | None, str | None]]

_MOST: Final = 0.5
_CODE_NAME: Final = re.compile(
    r"(?i:(?:.*_)?(?:ean|ean_?(?:8|13)|ean_?code|gtin|gtin_?(?:8|12|13|14)|upc|barcode|isbn|sku|mpn|phone|telephone|zip|"
    r"zip_?code|postal_?code|plz))"
)
_TIME_NAME: Final = re.compile(r"(?i:.*(?:time|_ms|_at|date|created|updated|stamp).*)")
_BARCODE: Final = re.compile(r"[0-9]{12,14}")
_SHORT_BARCODE: Final = re.compile(r"[0-9]{8}|[0-9]{12,14}")
_NEARLY_DISTINCT: Final = 0.9
_MIN_CHECKED: Final = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """The kind of a column. `price` reads amount and currency, where it has currencies, and `spoiled` is what kept the
    column from a better kind.
    """

    kind: AttributeKind
    parse: Parser
    price: PriceParser | None = None
    spoiled: str = ""


def verdict_of(sample: ColumnSample, attribute: str, hint: AttributeKind | None) -> Verdict:
    """Decide the kind of a column. A `hint` is followed unless the texts cannot be read as that kind."""
    if attribute == "year":
        return Verdict(AttributeKind.INTEGER, read_year)
    if is_named_text(attribute) and hint is None:
        return Verdict(AttributeKind.TEXT, read_text)
    if attribute in STANDARD_ATTRIBUTES:
        return Verdict(AttributeKind.KEYWORD, read_keyword)
    if hint in _FOLLOWED:
        return _FOLLOWED[hint](sample, attribute)
    texts = sample.texts()
    found = _scalar(sample, attribute, texts, hint) or _textual(sample, attribute, texts)
    return Verdict(found.kind, found.parse, found.price, _spoiled(sample, found.kind, texts))


def _as_decimal(number: Verdict) -> Verdict:
    """Whole numbers as decimals, which a price stays when it has cents one day."""

    def read(text: str) -> AttributeValue | None:
        value = number.parse(text)
        return float(value) if isinstance(value, int) else None

    return Verdict(AttributeKind.DECIMAL, read, number.price)


def _scalar(sample: ColumnSample, attribute: str, texts: dict[str, int], hint: AttributeKind | None) -> Verdict | None:
    """Boolean, number or date; None if the column is none of these."""
    if not texts and not sample.has_long_texts:
        return None
    booleans = sample.booleans
    is_boolean = bool(booleans.shared & BooleanForms.WORD) and (
        hint == AttributeKind.BOOLEAN or are_booleans(booleans.shared, booleans.seen, attribute)
    )
    if is_boolean and hint in (None, AttributeKind.BOOLEAN):
        return Verdict(AttributeKind.BOOLEAN, read_boolean)
    number = _number(sample, attribute, texts)
    if number is not None:
        return _as_decimal(number) if hint == AttributeKind.DECIMAL and number.kind == AttributeKind.INTEGER else number
    order = _order(sample)
    if order is not None:
        return Verdict(AttributeKind.DATE, lambda text: read_date(text, order))
    return None


def _number(sample: ColumnSample, attribute: str, texts: dict[str, int]) -> Verdict | None:
    shared, seen = sample.numbers.shared, sample.numbers.seen
    notation = notation_of(shared, seen)
    if notation is None:
        return None
    if seen & NumberForms.CURRENCY:
        return Verdict(
            AttributeKind.DECIMAL, lambda text: read_number(text, notation), lambda text: read_price(text, notation)
        )
    if has_decimals(notation, seen):
        return Verdict(AttributeKind.DECIMAL, lambda text: read_number(text, notation))
    if _are_codes(sample, attribute, texts):
        return Verdict(AttributeKind.KEYWORD, read_keyword)
    return Verdict(AttributeKind.INTEGER, lambda text: _whole(text, notation))


def _whole(text: str, notation: Notation) -> int | None:
    try:
        return int(text)
    except ValueError:
        value = read_number(text, notation)
        return None if value is None else int(value)


def _are_codes(sample: ColumnSample, attribute: str, texts: dict[str, int]) -> bool:
    """Whether whole numbers are barcodes or other codes, which nobody adds up or looks for by range."""
    if _CODE_NAME.fullmatch(attribute):
        return True
    if _TIME_NAME.fullmatch(attribute):
        return False
    if all(_BARCODE.fullmatch(text) for text in texts):
        return sample.distinct_share() >= _NEARLY_DISTINCT
    return len(texts) >= _MIN_CHECKED and all(
        _SHORT_BARCODE.fullmatch(text) and _has_check_digit(text) for text in texts
    )


def _has_check_digit(code: str) -> bool:
    """Whether the last digit is the check digit of a GTIN."""
    digits = [int(digit) for digit in reversed(code)]
    return sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0


def _order(sample: ColumnSample) -> int | None:
    shared = sample.dates.shared
    if shared == DateOrders.BOTH:
        return None if sample.dates.seen & DateOrders.DIFFERENT else DateOrders.DAY_FIRST
    return shared or None


def _textual(sample: ColumnSample, attribute: str, texts: dict[str, int]) -> Verdict:
    form = path_form(texts, attribute)
    if form is not None:
        return Verdict(AttributeKind.PATH, form.read)
    if sample.prose().is_prose(attribute, distinct=sample.distinct_share()):
        return Verdict(AttributeKind.TEXT, read_text)
    separators = list_separators(tuple(texts), attribute)
    if separators:
        return Verdict(AttributeKind.KEYWORDS, lambda text: read_list(text, separators) or None)
    return Verdict(AttributeKind.KEYWORD, read_keyword)


def _list(sample: ColumnSample, attribute: str) -> Verdict:
    separators = list_separators(tuple(sample.texts()), attribute, is_list=True)
    return Verdict(AttributeKind.KEYWORDS, lambda text: read_list(text, separators) or None)


def _path(sample: ColumnSample, attribute: str) -> Verdict:
    form = path_form(sample.texts(), attribute, is_path=True)
    assert form is not None
    return Verdict(AttributeKind.PATH, form.read)


# Every text can be read as one of these.
_FOLLOWED: Final[dict[AttributeKind | None, Callable[[ColumnSample, str], Verdict]]] = {
    AttributeKind.KEYWORD: lambda _, __: Verdict(AttributeKind.KEYWORD, read_keyword),
    AttributeKind.TEXT: lambda _, __: Verdict(AttributeKind.TEXT, read_text),
    AttributeKind.KEYWORDS: _list,
    AttributeKind.PATH: _path,
}


def _spoiled(sample: ColumnSample, kind: AttributeKind, texts: dict[str, int]) -> str:
    """What kept the column from a better kind, if most of its rows have that kind; empty otherwise."""
    if kind in (AttributeKind.BOOLEAN, AttributeKind.DATE, AttributeKind.INTEGER):
        return ""
    rows = sum(texts.values())

    def share(candidate: Candidate, readings: int) -> float:
        fitting = sum(count for text, count in texts.items() if candidate.forms_of(text) & readings)
        return fitting / rows if rows else 0.0

    numbers = share(sample.numbers, NumberForms.READINGS)
    whole = share(sample.numbers, NumberForms.WHOLE)
    if kind == AttributeKind.DECIMAL:
        return _but_for("integer", sample.numbers.spoilers(NumberForms.WHOLE)) if whole >= _MOST else ""
    if numbers >= _MOST and (others := sample.numbers.outsiders()):
        return _but_for("integer" if whole == numbers else "decimal", others)
    if numbers == 1.0 and notation_of(sample.numbers.shared, sample.numbers.seen) is None:
        point = sample.numbers.spoilers(NumberForms.COMMA)
        comma = sample.numbers.spoilers(NumberForms.POINT)
        if point and comma:
            return f"decimal, but {comma[0]} has a decimal comma and {point[0]} a decimal point"
    dates = share(sample.dates, DateOrders.BOTH)
    if dates >= _MOST and (others := sample.dates.outsiders()):
        return _but_for("date", others)
    if dates == 1.0:
        return _unclear_dates(sample.dates)
    if share(sample.booleans, BooleanForms.WORD) >= _MOST and kind != AttributeKind.TEXT:
        spoilers = sample.booleans.spoilers(BooleanForms.WORD)
        return _but_for("boolean", spoilers) if spoilers else ""
    return ""


def _unclear_dates(dates: Candidate) -> str:
    first = dates.first_seen.get(DateOrders.DIFFERENT)
    if dates.shared:
        return f"date, but no row shows whether the day or the month comes first: {first}"
    day_first = dates.spoilers(DateOrders.MONTH_FIRST)
    month_first = dates.spoilers(DateOrders.DAY_FIRST)
    return f"date, but the day comes first for {day_first[0]} and the month for {month_first[0]}"


def _but_for(kind: str, spoilers: list[Example]) -> str:
    return f"{kind} but for {', '.join(map(str, spoilers))}" if spoilers else ""
