"""Read a single text that has no column, such as a field of a form."""

from __future__ import annotations

from typing import Final

from vitrine.catalogs.columns.booleans import read_boolean
from vitrine.catalogs.columns.dates import DateOrders, date_orders, read_date
from vitrine.catalogs.columns.free_text import read_text
from vitrine.catalogs.columns.keywords import read_keyword
from vitrine.catalogs.columns.lists import in_brackets, read_any_list
from vitrine.catalogs.columns.numbers import number, read_any_number, read_year, whole_number
from vitrine.catalogs.columns.paths import read_any_path
from vitrine.products import STANDARD_ATTRIBUTES, AttributeKind, AttributeValue

_BOOLEANS: Final = frozenset({"true", "false"})


def read_single(attribute: str, text: str) -> AttributeValue | None:
    """The value of a single text that has no column, such as a field of a form; None if it has none.

    Only what is evident is read as more than text: whole numbers, numbers, `true` and `false`, and lists in brackets.
    """
    if attribute == "year":
        return read_year(text.strip())
    if attribute in STANDARD_ATTRIBUTES:
        return text.strip() or None
    text = text.strip()
    for read in (whole_number, number):
        value = read(text)
        if value is not None:
            return value
    if text.lower() in _BOOLEANS:
        return text.lower() == "true"
    return in_brackets(text) or read_keyword(text) if text.startswith("[") else read_keyword(text)


def read_as(kind: AttributeKind, text: str) -> AttributeValue | None:
    """The value of a single text of a known kind, such as a field of a form; None if it has none.

    `01/02/2024` has none, because it may be either of two days.
    """
    text = text.strip()
    match kind:
        case AttributeKind.BOOLEAN:
            return read_boolean(text)
        case AttributeKind.DECIMAL:
            return read_any_number(text)
        case AttributeKind.INTEGER:
            value = read_any_number(text)
            return None if value is None or not value.is_integer() else int(value)
        case AttributeKind.DATE:
            orders = date_orders(text)
            return read_date(text, orders) if orders and not orders & DateOrders.DIFFERENT else None
        case AttributeKind.KEYWORDS:
            return read_any_list(text) or None
        case AttributeKind.PATH:
            return read_any_path(text)
        case AttributeKind.TEXT:
            return read_text(text)
        case _:
            return text or None
