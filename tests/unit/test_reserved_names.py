"""Reserved names: an attribute cannot have the name of an option, an answer field or a payload field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.upload_files import picture
from search_api.answers import attributes_of
from search_api.app import create_app
from search_api.products.attributes import changed_attributes, typed_attributes
from search_api.products.schemas import ProductOut
from search_api.search.schemas import ScoredProduct
from search_api.settings import Settings
from vitrine.catalogs import read_catalog
from vitrine.catalogs.columns import attribute_names
from vitrine.errors import ParameterInvalid
from vitrine.products import (
    ANSWER_NAMES,
    OPTION_NAMES,
    PAYLOAD_NAMES,
    RESERVED_NAMES,
    AttributeKind,
    AttributeValue,
    Product,
    check_attribute_name,
    is_reserved,
    stored_name,
)
from vitrine.uploads.store import UploadStore


def _operations() -> list[dict[str, Any]]:
    document = create_app(Settings(api_host="127.0.0.1")).openapi()
    return [
        operation
        for operations in document["paths"].values()
        for operation in operations.values()
        if _has_free_fields(operation)
    ]


def _forms(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [content["schema"] for content in operation.get("requestBody", {}).get("content", {}).values()]


def _has_free_fields(operation: dict[str, Any]) -> bool:
    named = {parameter["name"] for parameter in operation.get("parameters", [])}
    return "filters" in named or any(form.get("additionalProperties") for form in _forms(operation))


def test_the_table_of_options_matches_the_declared_options() -> None:
    declared: set[str] = set()
    for operation in _operations():
        declared |= {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
        for form in _forms(operation):
            if form.get("additionalProperties"):
                declared |= set(form["properties"])
    assert declared - {"filters"} == OPTION_NAMES, "put the option into vitrine.products, or take it out"


def test_the_table_of_answer_names_matches_the_product_models() -> None:
    assert {*ProductOut.model_fields, *ScoredProduct.model_fields} == ANSWER_NAMES


def test_the_table_of_payload_names_matches_the_stored_payload() -> None:
    attributes: dict[str, AttributeValue] = {"gender": "Women", "articleType": "Tops"}
    product = Product("shop", "1", "1.jpg", attributes, more_pictures=("2.jpg",), variant_of="0")
    by_the_indexer = {"origin", "picture_sha256", "pictures_sha256", "added_at_ms", "paths_", "picture_files"}
    assert product.payload().keys() - attributes.keys() == PAYLOAD_NAMES - by_the_indexer


@pytest.mark.parametrize(
    "name",
    ["cutout", "confidence", "flip", "crops", "fuse", "rerank", "expandAlpha", "minConfidence", "Cutout", "TOPK"],
)
def test_a_column_called_like_an_option_gets_another_name_and_a_notice(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.jpg").touch()
    (tmp_path / "products.csv").write_text(f"id,{name},fit\n1,Yes,Slim\n")
    catalog = read_catalog("folder", tmp_path)
    assert catalog.products[0].attributes == {f"{name}_": True, "fit": "Slim"}
    [fault] = catalog.issues
    assert fault.kind == "renamed_column"
    assert fault.detail.startswith(f"{name} -> {name}_ (")


def test_a_column_called_like_the_range_of_another_is_renamed() -> None:
    assert attribute_names(["price", "priceMin", "PriceMAX", "slimMin"]) == {
        "price": "price", "priceMin": "priceMin_", "PriceMAX": "PriceMAX_", "slimMin": "slimMin",
    }  # fmt: skip


def test_every_stored_name_can_be_an_attribute_name() -> None:
    for name in RESERVED_NAMES:
        assert is_reserved(name.upper())
        check_attribute_name(stored_name(name))
    assert stored_name("fabric") == "fabric"


def test_a_value_indexed_under_such_a_name_does_not_overwrite_the_answer() -> None:
    payload = {"product_id": "1", "dataset": "shop", "picture": "1.jpg", "confidence": 0.9, "fit": "Slim"}
    assert attributes_of(payload) == {"confidence_": 0.9, "fit": "Slim"}


def test_a_put_with_such_a_name_is_stored_under_another_and_reports_it() -> None:
    put = typed_attributes([("cutout", "Yes"), ("fit", "Slim")], {}, max_attributes=10)
    assert put.attributes == {"cutout_": "Yes", "fit": "Slim"}
    assert put.notices == ("the attribute 'cutout' is stored as 'cutout_': 'cutout' is an option of a call",)
    changed = changed_attributes(put.attributes, {"cutout": None, "score": 3}, {}, max_attributes=10)
    assert changed.attributes == {"fit": "Slim", "score_": 3}
    ranged = typed_attributes([("priceMin", "3")], {"price": AttributeKind.INTEGER}, max_attributes=10)
    assert ranged.attributes == {"priceMin_": 3}


@pytest.mark.parametrize("name", ["id", "dataset", "product_id", "image"])
def test_a_put_that_names_the_product_in_its_attributes_is_refused_with_the_right_place(name: str) -> None:
    with pytest.raises(ParameterInvalid, match="in the address"):
        typed_attributes([(name, "x")], {}, max_attributes=10)


def test_an_upload_of_an_older_version_keeps_its_value_under_the_new_name(tmp_path: Path) -> None:
    upload_store = UploadStore(tmp_path)
    stored = upload_store.put(Product("shop", "1", "", {"fit": "Slim"}), picture())
    record = (tmp_path / stored.picture).parent / "record.json"
    record.write_text(record.read_text().replace('"fit"', '"cutout"'))
    found = upload_store.get("shop", "1")
    assert found is not None
    assert found.attributes == {"cutout_": "Slim"}


def test_a_new_attribute_is_typed_by_its_value_and_a_known_one_by_the_dataset() -> None:
    fields = [("weight", "250"), ("length", "37.5"), ("code", "007"), ("year", "2012.0"), ("size", "40"), ("name", "7")]
    put = typed_attributes(fields, {"size": AttributeKind.DECIMAL}, max_attributes=10)
    assert put.attributes == {"weight": 250, "length": 37.5, "code": "007", "year": 2012, "size": 40.0, "name": "7"}
    assert isinstance(put.attributes["size"], float)
    with pytest.raises(ParameterInvalid, match="whole number"):
        typed_attributes([("size", "37.5")], {"size": AttributeKind.INTEGER}, max_attributes=10)
    assert changed_attributes({}, {"weight": 250, "code": "007"}, {}, max_attributes=9).attributes == {
        "weight": 250, "code": "007",
    }  # fmt: skip
