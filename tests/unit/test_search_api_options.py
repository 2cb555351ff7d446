"""Options and attributes: what is accepted, and the errors for the rest."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from search_api.products.attributes import changed_attributes, typed_attributes
from search_api.search.options import ListOptions, SearchOptions, split_options
from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeKind

KINDS = {"gender": AttributeKind.KEYWORD, "year": AttributeKind.INTEGER, "price": AttributeKind.DECIMAL}


def test_options_are_distinguished_from_filters() -> None:
    pairs = [("model", "m"), ("gender", "Women"), ("topK", "5"), ("gender", "Men"), ("minScore", "0.5")]
    options, filters = split_options(pairs, SearchOptions)
    assert (options.model, options.top_k, options.min_score) == ("m", 5, 0.5)
    assert filters == [("gender", "Women"), ("gender", "Men")]


def test_the_default_is_fifteen_products_with_any_score() -> None:
    options, _ = split_options([], SearchOptions)
    assert (options.top_k, options.min_score, options.expand, options.group_by) == (15, None, 0, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offset", "1000"), ("offset", "-1"), ("region", "0,0,2,1"), ("region", "all"), ("facets", "a,b,c,d,e,f,g,h,i"),
        ("topK", "0"), ("topK", "1001"), ("topK", "10000"), ("topK", "-1"), ("topK", "ten"), ("topK", ""),
        ("topK", "1.5"), ("minScore", "2"), ("minScore", "nan"), ("minScore", "inf"), ("expand", "-1"),
        ("expand", "51"), ("groupBy", "x" * 65), ("model", "m" * 121),
    ],
)  # fmt: skip
def test_an_option_out_of_range_is_named(name: str, value: str) -> None:
    with pytest.raises(ParameterInvalid, match=name):
        split_options([(name, value)], SearchOptions)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="more than once"):
        split_options([("topK", "5"), ("topK", "6")], SearchOptions)


def test_an_option_of_another_call_is_a_filter() -> None:
    _, filters = split_options([("expand", "3")], ListOptions)
    assert filters == [("expand", "3")]


def test_options_cannot_be_changed() -> None:
    options, _ = split_options([], SearchOptions)
    with pytest.raises(ValidationError):
        options.top_k = 3  # type: ignore[misc]


def test_attributes_are_converted_to_the_type_of_their_field() -> None:
    fields = [("gender", "Women"), ("year", "2012"), ("price", "9.5"), ("colour", " Red "), ("season", "")]
    attributes = typed_attributes(fields, KINDS, max_attributes=10).attributes
    assert attributes == {"gender": "Women", "year": 2012, "price": 9.5, "colour": "Red"}


@pytest.mark.parametrize(
    "field",
    [
        ("year", "soon"), ("year", "2012.5"), ("year", "1e400"), ("year", "1e30"), ("price", "nan"), ("price", "inf"),
        ("product_id", "7"), ("0abc", "x"), ("gender", "x" * 1001),
    ],
)  # fmt: skip
def test_an_attribute_that_does_not_fit_is_refused(field: tuple[str, str]) -> None:
    with pytest.raises(ParameterInvalid):
        typed_attributes([field], KINDS, max_attributes=10)


def test_attributes_are_changed_individually() -> None:
    present: dict[str, str | int | float] = {"gender": "Women", "season": "Fall", "year": 2012}
    changed = changed_attributes(present, {"season": None, "year": 2013, "colour": "Red"}, KINDS, max_attributes=10)
    assert changed.attributes == {"gender": "Women", "year": 2013, "colour": "Red"}


def test_the_number_of_attributes_is_limited() -> None:
    with pytest.raises(ParameterInvalid, match="at most 2"):
        typed_attributes([("a", "1"), ("b", "2"), ("c", "3")], {}, max_attributes=2)
