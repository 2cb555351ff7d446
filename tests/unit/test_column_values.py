"""Columns of any values: each kind reads back what is written in any of its spellings, and no text breaks a typer."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.catalogs.columns import ColumnTyper, TypedColumn, kinds_of, typed_columns
from vitrine.products import AttributeKind

ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from(list("0123456789.,-+'/|;:>[](){}\"$€ \n\\")),
        st.sampled_from(list("aeMTZ&<é\u00a0\u0301\ufeff٣")),
        st.characters(),
    ),
    max_size=25,
)
MANY = settings(max_examples=60, derandomize=True, deadline=None)


def typed(texts: Sequence[str], attribute: str = "field", hint: AttributeKind | None = None) -> TypedColumn:
    typer = ColumnTyper(attribute, attribute, hint=hint)
    for row, text in enumerate(texts, start=1):
        typer.add(text, row)
    return typed_columns([typer])[0]


def grouped(whole: int, separator: str) -> str:
    return f"{whole:,}".replace(",", separator)


SIGNS = [(".", ","), (",", "."), (",", " "), (",", "\u00a0"), (".", "'"), (".", ""), (",", "")]
CURRENCIES = [
    ("${}", "USD"),
    ("{} €", "EUR"),
    ("EUR {}", "EUR"),
    ("{} USD", "USD"),
    ("£{}", "GBP"),
    ("{} kr", "kr"),
    ("{}zł", "PLN"),
]


@MANY
@given(st.lists(st.integers(-(10**15), 10**15), min_size=1), st.sampled_from(["{}", " {} ", "+{}"]))
def test_integers_come_back(numbers: list[int], written: str) -> None:
    texts = [written.format(number) if number > 0 else str(number) for number in numbers]
    column = typed(texts)
    barcodes = all(12 <= len(text.strip()) <= 14 and number > 0 for text, number in zip(texts, numbers, strict=True))
    if not barcodes and not all(len(str(number)) == 8 for number in numbers):
        assert [column.read(text) for text in texts] == numbers
        assert column.kind == AttributeKind.INTEGER


@MANY
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.sampled_from(SIGNS))
def test_decimals_come_back_in_every_notation(cents: list[int], signs: tuple[str, str]) -> None:
    point, thousands = signs
    texts = [
        f"{'-' if cent < 0 else ''}{grouped(abs(cent) // 100, thousands)}{point}{abs(cent) % 100:02d}" for cent in cents
    ]
    column = typed(texts)
    assert column.kind == AttributeKind.DECIMAL
    assert [column.read(text) for text in texts] == [cent / 100 for cent in cents]


@MANY
@given(st.lists(st.integers(0, 10**9), min_size=1), st.sampled_from(SIGNS), st.sampled_from(CURRENCIES), st.randoms())
def test_prices_come_back_with_their_currency(
    cents: list[int], signs: tuple[str, str], currency: tuple[str, str], dice: random.Random
) -> None:
    point, thousands = signs
    written, code = currency
    bare = [f"{grouped(cent // 100, thousands)}{point}{cent % 100:02d}" for cent in cents]
    has_currency = [True, *(dice.random() < 0.7 for _ in bare[1:])]
    texts = [written.format(text) if has else text for text, has in zip(bare, has_currency, strict=True)]
    column = typed(texts, "price")
    for text, cent, has in zip(texts, cents, has_currency, strict=True):
        row: dict[str, Any] = {}
        assert column.put(text, row)
        assert row["price"] == cent / 100
        if has or text in {texts[place] for place, one in enumerate(has_currency) if one}:
            assert row["priceCurrency"] == code


DATE_FORMATS: list[Callable[[date], str]] = [
    lambda day: day.isoformat(),
    lambda day: f"{day.day:02d}.{day.month:02d}.{day.year}",
    lambda day: f"{day.year}/{day.month}/{day.day}",
    lambda day: f"{day:%d %b %Y}",
    lambda day: f"{day:%B %d, %Y}",
]


@MANY
@given(st.lists(st.dates(date(1000, 1, 1), date(2999, 12, 31)), min_size=1), st.data())
def test_dates_come_back_in_every_format(days: list[date], data: st.DataObject) -> None:
    texts = [data.draw(st.sampled_from(DATE_FORMATS))(day) for day in days]
    column = typed(texts)
    assert column.kind == AttributeKind.DATE
    assert [column.read(text) for text in texts] == [day.isoformat() for day in days]


@MANY
@given(st.lists(st.dates(date(1000, 1, 1), date(2999, 12, 31)), min_size=1), st.booleans())
def test_dates_with_slashes_come_back_if_one_row_decides_them(days: list[date], day_first: bool) -> None:
    days = [*days, date(2024, 1, 31)]
    written = "{:%d/%m/%Y}" if day_first else "{:%m/%d/%Y}"
    texts = [written.format(day).rjust(10, "0") for day in days]
    column = typed(texts)
    assert column.kind == AttributeKind.DATE
    assert [column.read(text) for text in texts] == [day.isoformat() for day in days]


BOOLEANS = [
    ("TRUE", "FALSE"),
    ("true", "false"),
    ("True", "0"),
    ("Yes", "No"),
    ("y", "n"),
    ("ja", "nein"),
    ("in stock", "out of stock"),
]


@MANY
@given(st.lists(st.booleans()), st.sampled_from(BOOLEANS))
def test_booleans_come_back(values: list[bool], words: tuple[str, str]) -> None:
    values = [True, False, *values]
    column = typed([words[0] if value else words[1] for value in values])
    assert column.kind == AttributeKind.BOOLEAN
    assert [column.read(words[0] if value else words[1]) for value in values] == values


COLOURS = ["Red", "Blue", "Navy", "Light Green", "Off-White", "Grün", "Black & White"]
LIST_FORMATS: list[Callable[[list[str]], str]] = ["|".join, ", ".join, ";".join, ",".join, str, " / ".join]


@MANY
@given(st.lists(st.lists(st.sampled_from(COLOURS), min_size=1, max_size=4, unique=True)), st.data())
def test_lists_come_back_however_they_are_joined(lists: list[list[str]], data: st.DataObject) -> None:
    lists = [*([colour] for colour in COLOURS), ["Red", "Blue"], *lists]
    formats = [data.draw(st.sampled_from(LIST_FORMATS)) if len(one) > 1 else str.join for one in lists]
    texts = [one[0] if len(one) == 1 else join(one) for one, join in zip(lists, formats, strict=True)]  # type: ignore[arg-type, call-arg]
    column = typed(texts)
    assert column.kind == AttributeKind.KEYWORDS
    assert [column.read(text) for text in texts] == lists


@MANY
@given(
    st.lists(
        st.lists(st.sampled_from(["Clothing", "Shoes", "T-shirts", "Sale, new", "A & B"]), min_size=2, max_size=5),
        min_size=1,
    ),
    st.sampled_from([" > ", ">", " » ", " >> ", " &gt; "]),
)
def test_paths_come_back(paths: list[list[str]], arrow: str) -> None:
    texts = [arrow.join(path) for path in paths]
    column = typed(texts, "category")
    assert column.kind == AttributeKind.PATH
    assert [column.read(text) for text in texts] == [" > ".join(path) for path in paths]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.lists(ANY_TEXT, max_size=12),
    st.sampled_from(["field", "price", "year", "gender", "name", "description", "colours", "category", "in_stock"]),
    st.sampled_from([None, *AttributeKind]),
    st.randoms(),
)
def test_no_text_breaks_a_column_and_the_order_does_not_matter(
    texts: list[str], attribute: str, hint: AttributeKind | None, dice: random.Random
) -> None:
    column = typed(texts, attribute, hint)
    values = {text: column.read(text) for text in texts}
    for text, value in values.items():
        assert value is None or isinstance(value, str | int | float | list)
        assert value not in ("", [])
        if attribute != "year" and column.kind not in (AttributeKind.TEXT, AttributeKind.PATH, AttributeKind.KEYWORDS):
            plain = text.strip().lstrip("'=\"")
            assert value is not None or len(plain) < 5 or not plain.isalnum()
    shuffled = list(texts)
    dice.shuffle(shuffled)
    again = typed(shuffled, attribute, hint)
    assert again.kind == column.kind
    assert {text: again.read(text) for text in texts} == values
    kinds_of([column])


@pytest.mark.parametrize("hint", [None, *AttributeKind])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "(" * 400 + ")" * 400,
        "<!--" * 5000,
        "&" * 9000,
        "1" * 9000,
        "1," * 4000,
        "a|" * 9000,
        "\ud800",
        "\0",
    ],
)
def test_hostile_texts_are_read_in_time(text: str, hint: AttributeKind | None) -> None:
    column = typed([text, text[:200]], "description", hint)
    column.read(text)


def test_a_kind_is_the_same_for_more_values_than_are_kept() -> None:
    rows = [f"{n}.5" for n in range(12_000)] + ["One Size"]
    dice = random.Random(5)
    for _ in range(2):
        dice.shuffle(rows)
        column = typed(rows)
        assert column.kind == AttributeKind.KEYWORD
        assert column.spoiled == f"decimal but for 'One Size' in row {rows.index('One Size') + 1}"
    assert typed(rows[: rows.index("One Size")] or ["1.5"]).kind == AttributeKind.DECIMAL


def test_memory_stays_small_for_many_distinct_texts() -> None:
    typer, words = ColumnTyper("sku", "SKU"), ColumnTyper("text", "text")
    tracemalloc.start()
    for row in range(30_000):
        typer.add(f"SKU-{row}", row)
        words.add(f"{row} " + "word " * 100, row)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    column, text = typed_columns([typer, words])
    assert peak_bytes < 4_000_000
    assert (column.kind, text.kind) == (AttributeKind.KEYWORD, AttributeKind.TEXT)
