"""Options and attributes: what is accepted, and the errors for the rest."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from search_api.products.attributes import changed_attributes, typed_attributes
from search_api.search.options import ListOptions, SearchOptions, split_options
from vitrine.errors import ParameterInvalid
from vitrine.images.regions import Region
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


def test_a_region_is_a_box_or_the_number_of_a_garment() -> None:
    box, _ = split_options([("region", "0.1,0.2,0.3,0.4")], SearchOptions)
    assert (box.garment, box.picture_region) == (None, Region(0.1, 0.2, 0.3, 0.4))
    number, _ = split_options([("region", "12"), ("cutout", "true"), ("flip", "true")], SearchOptions)
    assert (number.garment, number.picture_region) == (12, None)
    assert number.views == "flip", "a garment is cut out already"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", ""), ("region", "-1"), ("region", "1.5"), ("region", "123"), ("region", "1,2"),
        ("region", "\u0661"), ("region", "1\n"), ("region", "\0"), ("region", "9" * 201), ("regions", "all"),
        ("regions", "1"), ("regions", ""), ("kindFilters", "perhaps"),
    ],
)  # fmt: skip
def test_a_region_that_names_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(ParameterInvalid, match=name):
        split_options([(name, value)], SearchOptions)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", "1"), ("cutout", "true"), ("crops", "1"), ("expand", "1"), ("rerank", "10"), ("fuse", "other"),
        ("offset", "1"), ("topK", "101"),
    ],
)  # fmt: skip
def test_a_search_with_every_garment_says_what_it_cannot_be_combined_with(name: str, value: str) -> None:
    with pytest.raises(ParameterInvalid, match=name):
        split_options([("regions", "auto"), (name, value)], SearchOptions)


def test_a_search_with_every_garment_can_be_filtered_grouped_and_mirrored() -> None:
    pairs = [("regions", "auto"), ("facets", "gender"), ("minConfidence", "0.5"), ("groupBy", "year"), ("flip", "true")]
    options, filters = split_options([*pairs, ("variants", "all"), ("gender", "Men")], SearchOptions)
    assert (options.regions, options.kind_filters, options.views, filters) == (
        "auto",
        True,
        "flip",
        [("gender", "Men")],
    )


def test_two_models_are_not_fused_for_one_garment() -> None:
    with pytest.raises(ParameterInvalid, match="box"):
        split_options([("fuse", "other"), ("region", "1")], SearchOptions)


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


def test_a_region_that_is_none_is_answered_with_both_that_can_be_given() -> None:
    with pytest.raises(ParameterInvalid) as refused:
        split_options([("region", "left")], SearchOptions)
    assert refused.value.detail.startswith("region: region 'left': give four numbers"), "without pydantic's own words"
    assert "the number of a garment" in refused.value.detail
