"""The values of attributes as the pages show them."""

from __future__ import annotations

import pytest

from search_api.pages.search_view import main_attributes
from search_api.pages.shown_values import form_text, is_currency, shown_value, with_currency
from vitrine.products import AttributeKind, AttributeValue

K = AttributeKind


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (["Red", "Blue"], K.KEYWORDS, "Red, Blue"),
        (["A > B", "C"], K.PATH, "A > B; C"),
        (True, K.BOOLEAN, "Yes"),
        (False, K.BOOLEAN, "No"),
        ("2024-01-05", K.DATE, "5 January 2024"),
        ("2024-01-05T09:30:00+02:00", K.DATE, "5 January 2024, 09:30 UTC+02:00"),
        ("soon", K.DATE, "soon"),
        (36.0, K.DECIMAL, "36"),
        (37.5, K.DECIMAL, "37.5"),
        ("One Size", None, "One Size"),
    ],
)
def test_a_value_is_shown_in_words(value: AttributeValue, kind: AttributeKind | None, words: str) -> None:
    assert shown_value(value, kind) == words


def test_a_price_is_shown_with_its_currency() -> None:
    product = {"price": 19.9, "priceCurrency": "EUR", "size": 37.5, "weightCurrency": "EUR"}
    assert with_currency("price", product) == "19.90 EUR"
    assert with_currency("price", {"price": 1299, "priceCurrency": "USD"}) == "1,299.00 USD"
    assert with_currency("price", {"price": 25_000.0, "priceCurrency": "JPY"}) == "25,000 JPY"
    assert with_currency("size", product) == "37.5"
    assert with_currency("compareAtPrice", {"compareAtPrice": 59.9}) == "59.90"
    assert with_currency("Regulärer_Preis", {"Regulärer_Preis": 20.0}) == "20.00"
    assert with_currency("price", {"price": 2499}) == "2499"
    assert is_currency("priceCurrency", product)
    assert not is_currency("weightCurrency", product)
    assert main_attributes({"gender": "Women", "articleType": ["Tops", "Shirts"], **product}) == (
        "Women · Tops, Shirts · 19.90 EUR"
    )


def test_the_text_of_a_form_is_read_back_as_the_same_value() -> None:
    assert [form_text(value) for value in (None, ["Red", "Blue"], True, 37.0, "x")] == [
        "", "Red | Blue", "true", "37", "x",
    ]  # fmt: skip
