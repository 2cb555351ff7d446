"""Filters as users write them, and their compiled form."""

from __future__ import annotations

import pytest
from qdrant_client import models

from vitrine.errors import FilterInvalid
from vitrine.qdrant.filters import MAX_VALUES_PER_FIELD, parse_filters
from vitrine.qdrant.schema import FieldType

SCHEMA: dict[str, FieldType] = {
    "gender": "keyword",
    "articleType": "keyword",
    "genderArticleType": "keyword",
    "year": "integer",
    "price": "float",
}


def test_a_repeated_field_means_any_of_its_values() -> None:
    compiled = parse_filters([("gender", "Women"), ("gender", "Unisex")], SCHEMA).compile()
    assert compiled == models.Filter(
        must=[models.FieldCondition(key="gender", match=models.MatchAny(any=["Women", "Unisex"]))]
    )


def test_a_numeric_field_takes_a_range_and_exact_values() -> None:
    compiled = parse_filters([("yearMin", "2012"), ("yearMax", "2014")], SCHEMA).compile()
    assert compiled == models.Filter(
        must=[models.FieldCondition(key="year", range=models.Range(gte=2012.0, lte=2014.0))]
    )
    exact = parse_filters([("year", "2012")], SCHEMA).compile()
    assert exact == models.Filter(must=[models.FieldCondition(key="year", match=models.MatchValue(value=2012))])


def test_a_field_with_an_exclamation_mark_excludes_its_value() -> None:
    compiled = parse_filters([("!gender", "Men")], SCHEMA).compile()
    assert compiled == models.Filter(
        must_not=[models.FieldCondition(key="gender", match=models.MatchValue(value="Men"))]
    )


def test_one_gender_and_one_article_type_also_use_the_composite_field() -> None:
    compiled = parse_filters([("articleType", "Dresses"), ("gender", "Women")], SCHEMA).compile()
    assert compiled is not None
    assert isinstance(compiled.must, list)
    assert compiled.must[0] == models.FieldCondition(
        key="genderArticleType", match=models.MatchValue(value="Women|Dresses")
    )
    assert len(compiled.must) == 3


def test_two_genders_do_not_use_the_composite_field() -> None:
    pairs = [("articleType", "Dresses"), ("gender", "Women"), ("gender", "Girls")]
    compiled = parse_filters(pairs, SCHEMA).compile()
    assert compiled is not None
    assert isinstance(compiled.must, list)
    assert len(compiled.must) == 2


def test_no_filter_compiles_to_nothing() -> None:
    spec = parse_filters([], SCHEMA)
    assert not spec
    assert spec.compile() is None


def test_equivalent_filters_have_the_same_key() -> None:
    one = parse_filters([("gender", "Women"), ("yearMin", "2012")], SCHEMA)
    other = parse_filters([("yearMin", "2012"), ("gender", "Women")], SCHEMA)
    assert one.key == other.key
    assert one.key != parse_filters([("gender", "Men"), ("yearMin", "2012")], SCHEMA).key


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([("colour", "Red")], "unknown filter 'colour'; the fields are: articleType, gender, price, year"),
        ([("genderArticleType", "Women|Dresses")], "unknown filter"),
        ([("genderMin", "3")], "unknown filter 'genderMin'"),
        ([("!yearMin", "3")], "unknown filter '!yearMin'"),
        ([("year", "two")], "whole number"),
        ([("year", str(2**63))], "out of range"),
        ([("yearMin", "nan")], "is a number"),
        ([("priceMax", "inf")], "is a number"),
        ([("price", "much")], "is a number"),
        ([("gender", "")], "is empty"),
        ([("gender", "x" * 201)], "longer than 200"),
        ([("gender", str(n)) for n in range(MAX_VALUES_PER_FIELD + 1)], "too many values"),
        ([("gender", "Men")] * 200, "too many"),
    ],
)
def test_an_invalid_filter_is_refused_with_advice(pairs: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(FilterInvalid, match=says.replace("(", r"\(")):
        parse_filters(pairs, SCHEMA)


def test_a_decimal_number_is_matched_by_a_range() -> None:
    one = parse_filters([("price", "29.95")], {"price": "float"}).compile()
    span = models.Range(gte=29.95, lte=29.95)
    assert one == models.Filter(must=[models.FieldCondition(key="price", range=span)])
    several = parse_filters([("!price", "20"), ("!price", "29.95")], {"price": "float"}).compile()
    assert several is not None
    [either] = several.must_not or []
    assert isinstance(either, models.Filter)
    assert either.should == [
        models.FieldCondition(key="price", range=models.Range(gte=20.0, lte=20.0)),
        models.FieldCondition(key="price", range=span),
    ]
