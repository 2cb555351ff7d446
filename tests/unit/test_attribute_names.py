"""The names of attributes: letters of all scripts, unique, and readable by Qdrant as keys."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import Any, cast

import pytest
import qdrant_edge as edge
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.catalogs.columns import ColumnTyper, attribute_names, kinds_of, renaming, typed_columns
from vitrine.products import check_attribute_name


@pytest.fixture
def shard(tmp_path: Path) -> edge.EdgeShard:
    config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=2, distance=edge.Distance.Cosine))
    return edge.EdgeShard.create(str(tmp_path), config)


@pytest.mark.parametrize(
    ("column", "attribute"),
    [
        ("Größe", "Größe"),
        ("Gro\u0308\u00dfe", "Größe"),
        ("Größe, EU", "Größe_EU"),
        ("色", "色"),
        ("Цвет", "Цвет"),
        ("مقاس", "مقاس"),
        ("사이즈", "사이즈"),
        ("Price (EUR)", "Price_EUR"),
        ("Google Shopping / Gender", "Google_Shopping_Gender"),
        ('"size"', "size"),
        ("product.type", "product_type"),
        ("In stock?", "In_stock"),
        ("size__eu", "size__eu"),
        ("2nd colour", "c_2nd_colour"),
        ("\ufeffcolour", "colour"),
        ("½ size", "c_½_size"),
        ("?", "column"),
        ("GENDER", "gender"),
        ("Cutout", "Cutout_"),
        ("matchedPicture", "matchedPicture_"),
        ("VARIANTS", "VARIANTS_"),
    ],
)
def test_a_name_keeps_its_letters_and_loses_other_characters(column: str, attribute: str) -> None:
    assert attribute_names([column]) == {column: attribute}
    check_attribute_name(attribute)


def test_columns_whose_names_become_equal_are_all_kept() -> None:
    names = attribute_names(["price-eur", "price eur", "price_eur", "Größe", "Gro\u0308ße"])
    assert names["price_eur"] == "price_eur"
    assert len(set(names.values())) == 5
    assert sorted(names.values()) == ["Größe", "Größe_2", "price_eur", "price_eur_2", "price_eur_3"]


def test_a_renamed_column_is_reported_with_its_reason() -> None:
    assert renaming("model", "model_") == "model -> model_ ('model' is an option of a call)"
    assert renaming("Größe, EU", "Größe_EU") == "Größe, EU -> Größe_EU"


def test_the_currency_of_a_price_gets_a_name_that_is_free() -> None:
    typers = [ColumnTyper("price", "price"), ColumnTyper("priceCurrency", "priceCurrency"), ColumnTyper("x" * 64, "x")]
    for typer, text in zip(typers, ["19.90 €", "EUR", "5 €"], strict=True):
        typer.add(text, 1)
    kinds = kinds_of(typed_columns(typers))
    assert list(kinds)[:4] == ["price", "priceCurrency", "x" * 64, "priceCurrency2"]
    for name in kinds:
        check_attribute_name(name)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=70), max_size=8, unique=True))
def test_any_header_gives_valid_and_unique_names(columns: list[str]) -> None:
    names = attribute_names(columns)
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    for name in names.values():
        check_attribute_name(name)


def test_qdrant_reads_every_allowed_character_in_a_key(shard: edge.EdgeShard) -> None:
    allowed = [
        letter
        for letter in map(chr, range(sys.maxunicode + 1))
        if (letter.isalnum() or letter == "_") and unicodedata.is_normalized("NFC", f"a{letter}")
    ]
    for start in range(0, len(allowed), 60):
        name = "a" + "".join(allowed[start : start + 60])
        shard.facet(edge.FacetRequest(name, 1, False, None))
    with pytest.raises(Exception, match="JSON path"):
        shard.facet(edge.FacetRequest("a b", 1, False, None))


@pytest.mark.parametrize("column", ["Größe, EU", "色", "Цвет", "مقاس", "हिन्दी", "2nd colour"])
def test_qdrant_filters_counts_and_indexes_by_such_a_name(shard: edge.EdgeShard, column: str) -> None:
    name = attribute_names([column])[column]
    payloads = [{name: "Rot"}, {name: "Blau"}, {name: "Rot"}]
    points = [edge.Point(n, [1.0, float(n)], cast(Any, payload)) for n, payload in enumerate(payloads, start=1)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.update(edge.UpdateOperation.create_field_index(name, edge.PayloadSchemaType.Keyword))
    assert name in shard.info().payload_schema
    condition = edge.FieldCondition(name, match=edge.MatchValue("Rot"))
    assert shard.count(edge.CountRequest(True, edge.Filter(must=[condition]))) == 2
    hits = shard.facet(edge.FacetRequest(name, 10, True, None)).hits
    assert {(hit.value, hit.count) for hit in hits} == {("Rot", 2), ("Blau", 1)}
