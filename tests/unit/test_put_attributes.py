"""Attributes of a put and a change: texts as catalogues spell them, and JSON values, in the kinds of a dataset."""

from __future__ import annotations

from typing import Any

import pytest

from search_api.products.attributes import changed_attributes, typed_attributes
from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeKind, AttributeValue

KINDS = {
    "colours": AttributeKind.KEYWORDS,
    "stock": AttributeKind.INTEGER,
    "price": AttributeKind.DECIMAL,
    "in_stock": AttributeKind.BOOLEAN,
    "added": AttributeKind.DATE,
    "category": AttributeKind.PATH,
    "description": AttributeKind.TEXT,
    "brand": AttributeKind.KEYWORD,
    "Größe": AttributeKind.DECIMAL,
}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("price", "19.9", 19.9),
        ("price", "19,90 €", 19.9),
        ("price", "$1,299.00", 1299.0),
        ("price", "25", 25.0),
        ("stock", "1,299", 1299),
        ("stock", "12.0", 12),
        ("in_stock", "yes", True),
        ("in_stock", "out of stock", False),
        ("added", "2024-01-15", "2024-01-15"),
        ("added", "15.01.2024", "2024-01-15"),
        ("added", "15/01/2024", "2024-01-15"),
        ("added", "2024", "2024-01-01"),
        ("colours", "Red|Blue", ["Red", "Blue"]),
        ("colours", "Red, Blue", ["Red", "Blue"]),
        ("colours", '["Red", "Blue"]', ["Red", "Blue"]),
        ("colours", "Red", ["Red"]),
        ("category", "Clothing>Dresses", "Clothing > Dresses"),
        ("description", "<p>Warm &amp; light</p>", "Warm & light"),
        ("brand", "Black, White & Grey Co.", "Black, White & Grey Co."),
        ("Größe", "37,5", 37.5),
        ("new_flag", "true", True),
        ("new_list", "['Red', 'Blue']", ["Red", "Blue"]),
        ("new_number", "37.5", 37.5),
        ("new_word", "Yes", "Yes"),
    ],
)
def test_a_text_becomes_a_value_of_the_attribute_s_kind(name: str, text: str, value: Any) -> None:
    attributes = typed_attributes([(name, text)], KINDS, max_attributes=10).attributes
    assert attributes == {name: value}
    assert type(attributes[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("price", "cheap", "is a number"),
        ("stock", "37.5", "is a whole number"),
        ("in_stock", "maybe", "true or false"),
        ("added", "01/02/2024", "is a date, such as 2024-01-15"),
        ("added", "soon", "is a date, such as 2024-01-15"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_at_its_field(name: str, text: str, reason: str) -> None:
    with pytest.raises(ParameterInvalid, match=reason) as refused:
        typed_attributes([(name, text)], KINDS, max_attributes=10)
    assert [error["where"] for error in refused.value.context["errors"]] == [name]


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("in_stock", True, True),
        ("in_stock", False, False),
        ("price", 19.9, 19.9),
        ("price", 20, 20.0),
        ("colours", ["Red", "Blue"], ["Red", "Blue"]),
        ("colours", "Red", ["Red"]),
        ("category", ["Clothing > Sale", "Clothing > Tops"], ["Clothing > Sale", "Clothing > Tops"]),
        ("brand", 7, "7"),
        ("fresh", True, True),
        ("fresh_list", ["a", "b"], ["a", "b"]),
    ],
)
def test_a_json_value_keeps_its_meaning(name: str, value: AttributeValue, stored: Any) -> None:
    attributes = changed_attributes({}, {name: value}, KINDS, max_attributes=10).attributes
    assert attributes == {name: stored}
    assert type(attributes[name]) is type(stored)


@pytest.mark.parametrize(
    ("name", "value"), [("price", True), ("stock", ["1", "2"]), ("in_stock", "perhaps"), ("added", 5), ("price", "x")]
)
def test_a_json_value_that_does_not_fit_is_refused_at_its_field(name: str, value: AttributeValue) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        changed_attributes({}, {name: value}, KINDS, max_attributes=10)
    assert [error["where"] for error in refused.value.context["errors"]] == [name]


def test_both_forms_of_a_shop_s_update_are_stored_in_a_dataset_without_these_attributes() -> None:
    changes: dict[str, AttributeValue | None] = {"in_stock": True, "price": 19.9}
    assert changed_attributes({}, changes, {}, max_attributes=10).attributes == changes


def test_a_form_takes_the_attributes_as_one_json_object_too() -> None:
    text = '{"price": 19.9, "colours": ["Red", "Black"], "sale": true, "note": null}'
    kinds = {"price": AttributeKind.DECIMAL, "colours": AttributeKind.KEYWORDS, "sale": AttributeKind.BOOLEAN}
    put = typed_attributes([("attributes", text)], kinds, max_attributes=8)
    assert put.attributes == {"price": 19.9, "colours": ["Red", "Black"], "sale": True}
    for wrong in ('{"price": ', '{"price": {"amount": 1}}'):
        with pytest.raises(ParameterInvalid):
            typed_attributes([("attributes", wrong)], kinds, max_attributes=8)
