"""The values of attributes in words: lists, dates, booleans, and prices with their currency."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from vitrine.kinds import DateSpan, text_of
from vitrine.products import AttributeKind, AttributeValue

_CURRENCY: Final = "Currency"
_PRICE: Final = re.compile(r"(?i).*(?:price|preis|prix|precio|prezzo|prijs)")
_WORDS: Final = {"true": "Yes", "false": "No"}
_FORM_SEPARATOR: Final = " | "


def shown_value(value: Any, kind: AttributeKind | None = None) -> str:
    """A value as a reader expects it."""
    if isinstance(value, list):
        return ("; " if kind is AttributeKind.PATH else ", ").join(map(str, value))
    if isinstance(value, bool):
        return in_words(text_of(value))
    if kind is AttributeKind.DATE and isinstance(value, str):
        return _date(value)
    return text_of(value)


def in_words(text: str) -> str:
    """`true` and `false` as Yes and No; other texts unchanged."""
    return _WORDS.get(text, text)


def is_price(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether the attribute is an amount of money: it has a currency, or a price's name and cents."""
    value = attributes[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return bool(attributes.get(f"{name}{_CURRENCY}")) or (isinstance(value, float) and bool(_PRICE.fullmatch(name)))


def with_currency(name: str, attributes: Mapping[str, Any]) -> str:
    """An amount with its currency, which is the attribute `priceCurrency` of `price`."""
    value, currency = attributes[name], attributes.get(f"{name}{_CURRENCY}")
    if not is_price(name, attributes):
        return shown_value(value)
    amount = f"{value:,.0f}" if float(value).is_integer() and abs(value) >= _ROUND_FROM else f"{value:,.2f}"
    return f"{amount} {currency}" if currency else amount


def is_currency(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether the attribute is the currency of another one, with which it is shown."""
    base = name.removesuffix(_CURRENCY)
    return base != name and isinstance(attributes.get(base), int | float)


def form_text(value: AttributeValue | None) -> str:
    """A value as the text of a form's field, which the API reads back as the same value."""
    if value is None:
        return ""
    return _FORM_SEPARATOR.join(value) if isinstance(value, list) else text_of(value)


def _date(text: str) -> str:
    span = DateSpan.parse(text)
    if span is None:
        return text
    day = f"{span.start.day} {span.start:%B %Y}"
    return day if span.end is not None else f"{day}, {_time(span.start)}"


def _time(moment: datetime) -> str:
    zone = moment.strftime("%Z")
    return f"{moment:%H:%M} {zone}"


_ROUND_FROM: Final = 10_000
