"""Kinds of attributes: found from values, merged, and the form in which their values are stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vitrine.kinds import (
    DateSpan,
    convert_attributes,
    converted_value,
    filterable,
    kinds_from,
    kinds_of,
    narrower,
    path_levels,
    paths_member,
    widened,
    wider,
)
from vitrine.products import AttributeKind, AttributeValue, Product
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata, FieldType, index_fields, json_path

K = AttributeKind
KINDS = {
    "size": K.KEYWORD, "price": K.DECIMAL, "stock": K.INTEGER, "note": K.KEYWORD, "colours": K.KEYWORDS,
    "sale": K.BOOLEAN, "added": K.DATE, "category": K.PATH, "story": K.TEXT,
}  # fmt: skip


def test_attributes_get_the_widest_kind_of_their_values() -> None:
    rows: list[dict[str, AttributeValue]] = [
        {"gender": "Men", "year": 2012, "price": 3, "name": "Shirt", "size": 40, "sale": True, "colours": ["Red"]},
        {"price": 3.5, "size": "XL", "sale": False, "colours": "Blue"},
    ]
    assert kinds_of(rows) == {
        "gender": K.KEYWORD, "year": K.INTEGER, "price": K.DECIMAL, "name": K.TEXT, "size": K.KEYWORD,
        "sale": K.BOOLEAN, "colours": K.KEYWORDS,
    }  # fmt: skip


def test_values_that_can_be_stored_as_a_known_kind_leave_it() -> None:
    fitting: list[dict[str, AttributeValue]] = [
        {"size": "37", "price": 20, "stock": "3", "colours": "Red", "sale": "yes", "added": "2024-01-15"},
        {"category": "A > B", "story": "long", "price": "19.5"},
    ]
    assert kinds_of(fitting, KINDS) == KINDS
    spoiling: list[dict[str, AttributeValue]] = [
        {"size": ["S", "M"], "price": "many", "stock": 3.5, "sale": 7, "added": "soon", "note": 3},
    ]
    assert kinds_of(spoiling, KINDS) == KINDS | {
        "size": K.KEYWORDS, "price": K.KEYWORD, "stock": K.DECIMAL, "sale": K.KEYWORD, "added": K.KEYWORD,
    }  # fmt: skip
    assert kinds_of([{"stock": "007"}], KINDS)["stock"] is K.KEYWORD, "a leading zero is part of a code"


def test_values_are_stored_in_the_form_of_their_kind() -> None:
    converted, misfits = convert_attributes(
        {"size": 37, "price": 20, "stock": "3", "note": "new", "name": "Shirt"}, KINDS
    )
    assert converted == {"size": "37", "price": 20.0, "stock": 3, "note": "new", "name": "Shirt"}
    assert isinstance(converted["price"], float)
    assert misfits == ()
    assert convert_attributes({"size": 37.5, "stock": 4.0}, KINDS) == ({"size": "37.5", "stock": 4}, ())
    assert convert_attributes({"size": 29.0}, KINDS)[0] == {"size": "29"}
    kept, misfits = convert_attributes({"stock": 3.5, "price": "many", "sale": "maybe", "added": "soon"}, KINDS)
    assert kept == {"stock": 3.5, "price": "many", "sale": "maybe", "added": "soon"}
    assert misfits == ("stock", "price", "sale", "added")


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        ("Red", K.KEYWORDS, ["Red"]),
        (7, K.KEYWORDS, ["7"]),
        ("Yes", K.BOOLEAN, True),
        (0, K.BOOLEAN, False),
        (True, K.KEYWORD, "true"),
        (True, K.INTEGER, None),
        ("2024-01-15", K.DATE, "2024-01-15"),
        ("2024-01-15T10:30", K.DATE, "2024-01-15T10:30:00+00:00"),
        ("2024-01-15 10:30:00+02:00", K.DATE, "2024-01-15T10:30:00+02:00"),
        ("2024-02-30", K.DATE, None),
        ("Clothing>Dresses > ", K.PATH, "Clothing > Dresses"),
        (["A > B", "C"], K.PATH, ["A > B", "C"]),
        (["A", "B"], K.TEXT, "A, B"),
    ],
)
def test_each_kind_has_its_form(value: AttributeValue, kind: AttributeKind, stored: AttributeValue | None) -> None:
    found = converted_value(value, kind)
    assert found == stored
    assert type(found) is type(stored)


def test_attributes_of_two_indexings_are_widened_together() -> None:
    assert widened({"size": K.INTEGER, "fit": K.KEYWORD}, {"size": K.DECIMAL, "price": K.INTEGER}) == {
        "size": K.DECIMAL, "fit": K.KEYWORD, "price": K.INTEGER,
    }  # fmt: skip


@pytest.mark.parametrize("one", K)
@pytest.mark.parametrize("other", K)
def test_the_wider_of_two_kinds(one: AttributeKind, other: AttributeKind) -> None:
    found = wider(one, other)
    assert found is wider(other, one)
    if one is other:
        assert found is one
    elif K.TEXT in (one, other):
        assert found is K.TEXT
    elif {one, other} == {K.INTEGER, K.DECIMAL}:
        assert found is K.DECIMAL
    elif {one, other} == {K.KEYWORD, K.KEYWORDS}:
        assert found is K.KEYWORDS
    else:
        assert found is K.KEYWORD


def test_a_value_for_two_models_must_fit_the_narrower_kind() -> None:
    assert narrower(K.INTEGER, K.DECIMAL) is K.INTEGER
    assert narrower(K.KEYWORD, K.DATE) is K.DATE


def test_a_path_is_stored_with_its_levels_beside_it() -> None:
    assert path_levels("Clothing > Dresses>Midi") == ["Clothing", "Clothing > Dresses", "Clothing > Dresses > Midi"]
    assert path_levels(["A > B", "A > C", " "]) == ["A", "A > B", "A > C"]
    assert paths_member({"category": "A > B", "size": "A > B"}, KINDS) == {"paths_": {"category": ["A", "A > B"]}}
    assert paths_member({"size": "A"}, KINDS) == {}


def test_a_date_means_all_its_instants() -> None:
    def day(year: int, month: int, day: int) -> datetime:
        return datetime(year, month, day, tzinfo=UTC)

    assert DateSpan.parse("2024-02-29") == DateSpan(day(2024, 2, 29), day(2024, 3, 1))
    assert DateSpan.parse("2024-02") == DateSpan(day(2024, 2, 1), day(2024, 3, 1))
    assert DateSpan.parse(" 2023 ") == DateSpan(day(2023, 1, 1), day(2024, 1, 1))
    zone = timezone(timedelta(hours=2))
    assert DateSpan.parse("2024-01-15T10:00+02:00") == DateSpan(datetime(2024, 1, 15, 10, tzinfo=zone), None)
    assert [DateSpan.parse(text) for text in ("", "24", "2024-13", "tomorrow")] == [None] * 4
    assert DateSpan.parse("9999-12-31") is not None


def test_every_kind_but_free_text_has_an_index_of_its_type() -> None:
    assert index_fields(KINDS) == {
        "size": "keyword", "price": "float", "stock": "integer", "note": "keyword", "colours": "keyword",
        "sale": "bool", "added": "datetime", "paths_.category": "keyword",
    }  # fmt: skip
    assert [json_path(key) for key in ("größe", "paths_.in stock", "paths_.category")] == [
        "größe", 'paths_."in stock"', "paths_.category",
    ]  # fmt: skip


def test_a_collection_knows_the_kinds_of_its_attributes() -> None:
    metadata = CollectionMetadata("shop", "net", "net-0123456789", "folder", "/shop", "ready", kinds=dict(KINDS))
    schema: dict[str, FieldType] = {"product_id": "keyword", "added_at_ms": "integer", **index_fields(KINDS)}
    info = CollectionInfo("name", 8, 0, schema, metadata)
    assert info.kinds == KINDS
    assert info.filters == KINDS | {"product_id": K.KEYWORD}
    assert CollectionMetadata.parse(metadata.as_dict()) == metadata


def test_a_collection_of_an_older_version_has_the_kinds_of_its_indexes() -> None:
    metadata = CollectionMetadata("shop", "net", "net-0123456789", "folder", "/shop", "ready")
    schema: dict[str, FieldType] = {"product_id": "keyword", "size": "keyword", "year": "integer", "price": "float"}
    info = CollectionInfo("name", 8, 0, schema, metadata)
    assert info.kinds == {"size": K.KEYWORD, "year": K.INTEGER, "price": K.DECIMAL}


def test_an_index_of_another_type_than_the_recorded_kind_decides() -> None:
    metadata = CollectionMetadata(
        "shop", "net", "net-0123456789", "folder", "/shop", "ready", kinds={"size": "decimal", "new": "of the future"}
    )
    info = CollectionInfo("name", 8, 0, {"size": "keyword", "new": "keyword"}, metadata)
    assert info.kinds == {"size": K.KEYWORD, "new": K.KEYWORD}
    assert kinds_from({"size": "decimal", "new": "of the future"}) == {"size": K.DECIMAL}
    assert filterable({"a": K.TEXT, "b": K.DATE}) == {"b": K.DATE}


def test_the_pairs_of_gender_and_article_type_include_those_of_lists() -> None:
    def pairs(**attributes: AttributeValue) -> object:
        return Product("shop", "1", "1.jpg", attributes).payload().get("genderArticleType")

    assert pairs(gender="Women", articleType="Tops") == "Women|Tops"
    assert pairs(gender=["Women", "Men"], articleType="Tops") == ["Women|Tops", "Men|Tops"]
    assert pairs(gender="Women") is None
