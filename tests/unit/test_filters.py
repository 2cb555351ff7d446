"""Filters as users write them, and their compiled form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from qdrant_client import models

from vitrine.errors import FilterInvalid
from vitrine.products import AttributeKind
from vitrine.qdrant.filters import MAX_VALUES_PER_FIELD, parse_filters

K = AttributeKind
SCHEMA = {
    "gender": K.KEYWORD, "articleType": K.KEYWORD, "genderArticleType": K.KEYWORD, "year": K.INTEGER,
    "price": K.DECIMAL, "colours": K.KEYWORDS, "sale": K.BOOLEAN, "added": K.DATE, "category": K.PATH,
    "größe": K.KEYWORD, "story": K.TEXT,
}  # fmt: skip


def compiled(*pairs: tuple[str, str]) -> models.Filter:
    found = parse_filters(pairs, SCHEMA).compile()
    assert found is not None
    return found


def on_day(key: str, first: str, after: str) -> models.FieldCondition:
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, after))
    return models.FieldCondition(key=key, range=models.DatetimeRange(gte=start, lt=end))


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
        (
            [("colour", "Red")],
            "unknown filter 'colour'; the fields are: added, articleType, category, colours, gender, größe, price, "
            "sale, year; with Min or Max appended: added, price, year",
        ),
        ([("genderArticleType", "Women|Dresses")], "unknown filter"),
        ([("genderMin", "3")], "unknown filter 'genderMin'"),
        ([("!yearMin", "3")], "unknown filter '!yearMin'"),
        ([("year", "two")], "whole number"),
        ([("year", str(2**63))], "out of range"),
        ([("yearMin", "nan")], "is a number"),
        ([("priceMax", "inf")], "is a number"),
        ([("price", "much")], "is a number"),
        ([("genderMin", "3")], "'gender' is a keyword, which has no range"),
        ([("story", "long")], "'story' is free text"),
        ([("story", "")], "'story' is free text"),
        ([("sale", "maybe")], "'sale' is a boolean and takes true or false; 'maybe' is neither"),
        ([("added", "15.1.2024")], "'added' is a date and takes one such as 2024-01-15"),
        ([("addedMin", "soon")], "'addedMin' is a date"),
        ([("priceMin", "")], "'priceMin' is a number and takes one such as 19.95"),
        ([("gender", "x" * 201)], "longer than 200"),
        ([("gender", str(n)) for n in range(MAX_VALUES_PER_FIELD + 1)], "too many values"),
        ([("gender", "Men")] * 200, "too many"),
    ],
)
def test_an_invalid_filter_is_refused_with_advice(pairs: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(FilterInvalid, match=says.replace("(", r"\(")):
        parse_filters(pairs, SCHEMA)


def test_a_decimal_number_is_matched_by_a_range() -> None:
    one = parse_filters([("price", "29.95")], {"price": K.DECIMAL}).compile()
    span = models.Range(gte=29.95, lte=29.95)
    assert one == models.Filter(must=[models.FieldCondition(key="price", range=span)])
    several = parse_filters([("!price", "20"), ("!price", "29.95")], {"price": K.DECIMAL}).compile()
    assert several is not None
    [either] = several.must_not or []
    assert isinstance(either, models.Filter)
    assert either.should == [
        models.FieldCondition(key="price", range=models.Range(gte=20.0, lte=20.0)),
        models.FieldCondition(key="price", range=span),
    ]


def test_an_empty_value_finds_products_without_one_and_its_negation_those_with_one() -> None:
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key="gender"))
    assert compiled(("gender", "")) == models.Filter(must=[empty])
    assert compiled(("!gender", "")) == models.Filter(must_not=[empty])
    women = models.FieldCondition(key="gender", match=models.MatchValue(value="Women"))
    either = models.Filter(should=[empty, models.Filter(must=[women])])
    assert compiled(("gender", ""), ("gender", "Women")) == models.Filter(must=[either])
    assert compiled(("!gender", ""), ("!gender", "Women")) == models.Filter(must_not=[women, empty])


def test_a_path_is_matched_at_any_of_its_levels() -> None:
    levels = models.MatchValue(value="Clothing > Dresses")
    condition = models.FieldCondition(key="paths_.category", match=levels)
    assert compiled(("category", "Clothing>Dresses ")) == models.Filter(must=[condition])
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key="paths_.category"))
    assert compiled(("category", "")) == models.Filter(must=[empty])


@pytest.mark.parametrize(("text", "value"), [("true", True), ("No", False), ("1", True), ("0", False), ("YES", True)])
def test_a_boolean_takes_the_usual_words(text: str, value: bool) -> None:
    condition = models.FieldCondition(key="sale", match=models.MatchValue(value=value))
    assert compiled(("sale", text)) == models.Filter(must=[condition])


def test_both_booleans_are_two_conditions_because_qdrant_matches_no_list_of_them() -> None:
    [either] = parse_filters([("sale", "true"), ("sale", "false")], SCHEMA).compile().must or []  # type: ignore[union-attr]
    assert isinstance(either, models.Filter)
    assert either.should == [
        models.FieldCondition(key="sale", match=models.MatchValue(value=value)) for value in (True, False)
    ]


def test_a_date_without_a_time_is_its_whole_day() -> None:
    assert compiled(("added", "2024-01-15")) == models.Filter(must=[on_day("added", "2024-01-15", "2024-01-16")])
    assert compiled(("added", "2024-02")) == models.Filter(must=[on_day("added", "2024-02-01", "2024-03-01")])
    span = compiled(("addedMin", "2024-01-15"), ("addedMax", "2024-01-31"))
    assert span == models.Filter(must=[on_day("added", "2024-01-15", "2024-02-01")])


def test_a_date_with_a_time_is_that_moment() -> None:
    moment = datetime(2024, 1, 15, 8, 30, tzinfo=UTC)
    exact = models.DatetimeRange(gte=moment, lte=moment)
    assert compiled(("added", "2024-01-15T10:30:00+02:00")) == models.Filter(
        must=[models.FieldCondition(key="added", range=exact)]
    )
    until = models.FieldCondition(key="added", range=models.DatetimeRange(lte=moment))
    assert compiled(("addedMax", "2024-01-15T08:30:00Z")) == models.Filter(must=[until])


def test_a_pair_that_is_no_single_value_does_not_use_the_composite_field() -> None:
    must = compiled(("articleType", "Dresses"), ("gender", "Women"), ("gender", "")).must
    assert isinstance(must, list)
    assert len(must) == 2
    paths = SCHEMA | {"articleType": K.PATH}
    found = parse_filters([("articleType", "Dresses"), ("gender", "Women")], paths).compile()
    assert found is not None
    assert isinstance(found.must, list)
    assert [one.key for one in found.must if isinstance(one, models.FieldCondition)] == ["paths_.articleType", "gender"]


def test_names_in_other_scripts_are_filters() -> None:
    condition = models.FieldCondition(key="größe", match=models.MatchValue(value="M"))
    assert compiled(("größe", "M")) == models.Filter(must=[condition])


@pytest.mark.parametrize(("text", "number"), [("1,299.00", 1299.0), ("1,299", 1299.0), ("19,90", 19.9), ("-3", -3.0)])
def test_a_number_may_be_written_as_shops_write_prices(text: str, number: float) -> None:
    span = models.Range(gte=number, lte=number)
    assert compiled(("price", text)) == models.Filter(must=[models.FieldCondition(key="price", range=span)])


def test_a_word_for_an_unknown_value_also_finds_products_without_a_value() -> None:
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key="colours"))
    none = models.FieldCondition(key="colours", match=models.MatchValue(value="None"))
    assert compiled(("colours", "None")).must == [models.Filter(should=[empty, models.Filter(must=[none])])]
    either = models.FieldCondition(key="colours", match=models.MatchAny(any=["N/A", "Red"]))
    assert compiled(("colours", "N/A"), ("colours", "Red")).must == [
        models.Filter(should=[empty, models.Filter(must=[either])])
    ]
    assert compiled(("!colours", "None")).must_not == [none, empty]


def test_a_number_takes_a_word_for_an_unknown_value() -> None:
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key="price"))
    assert compiled(("price", "NA")).must == [empty]
    assert compiled(("!price", "NA")).must_not == [empty]
    with pytest.raises(FilterInvalid, match="is a number"):
        parse_filters([("price", "na na")], SCHEMA)
