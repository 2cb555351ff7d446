"""Product ids, point ids and names."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import ParameterInvalid
from vitrine.products import (
    RESERVED_NAMES,
    STANDARD_ATTRIBUTES,
    Product,
    check_attribute_name,
    check_dataset_name,
    check_model_name,
    check_product_id,
    point_id,
    public_id,
)

IDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40).filter(
    lambda text: not {".", ".."} & set(text.replace("\\", "/").split("/"))
)
NAMES = st.text("aAbB09._", min_size=1, max_size=8).filter(lambda name: name[0] not in "._")


def test_the_point_ids_never_change() -> None:
    """The ids of points that are already stored. Another value would orphan every collection."""
    assert point_id("fashion-product", "15970") == "5023ef64-20c8-5a06-bb5b-ec1f39b3ca34"
    assert point_id("shop", "ä 1") == "a489fe9f-e893-53e5-8e4a-6f5754b45860"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.tuples(NAMES, IDS), min_size=2, max_size=6, unique=True))
def test_point_ids_are_stable_valid_and_distinct(products: list[tuple[str, str]]) -> None:
    ids = [point_id(*product) for product in products]
    assert len(set(ids)) == len(products)
    assert [point_id(*product) for product in products] == ids
    assert [str(uuid.UUID(value)) for value in ids] == ids
    assert ids == [Product(dataset, product_id, "p.jpg").point_id for dataset, product_id in products]


def test_dataset_and_id_are_separated_in_the_point_id() -> None:
    assert point_id("a", "bc") != point_id("ab", "c")


@settings(max_examples=200, derandomize=True, deadline=None)
@given(IDS)
def test_a_valid_product_id_is_accepted_and_shown_unchanged(product_id: str) -> None:
    assert check_product_id(product_id) == product_id
    assert str(public_id(product_id)) == product_id


@pytest.mark.parametrize(
    "bad",
    ["", " ", " 1", "1 ", ".", "..", "a/..", "../b", "a/./b", "a\\..", "a\nb", "a\0", "\u202e1", "a\ud800", "x" * 201],
)
def test_a_confusing_id_is_refused(bad: str) -> None:
    with pytest.raises(ParameterInvalid, match="product id"):
        check_product_id(bad)


@pytest.mark.parametrize(
    ("product_id", "shown"),
    [
        ("15970", 15970), ("0", 0), ("007", "007"), ("00", "00"), ("-5", "-5"), ("1.0", "1.0"), ("A-1", "A-1"),
        ("٣", "٣"), (str(2**53), 2**53), (str(2**53 + 1), str(2**53 + 1)), ("9" * 200, "9" * 200),
    ],
)  # fmt: skip
def test_an_id_is_shown_as_a_number_only_if_nothing_is_lost(product_id: str, shown: int | str) -> None:
    assert public_id(product_id) == shown
    assert type(public_id(product_id)) is type(shown)


@pytest.mark.parametrize(
    "name", ["shop", "fashion-product", "a", "9", "mobilenetv2_100", "v1.2-b_c", "x" * 120, "A-b-c"]
)
def test_valid_names_are_accepted(name: str) -> None:
    assert check_dataset_name(name) == name
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a--b", ".a", "_a", "a b", "a/b", "..", "ä", "a\n", "shop\n", "x" * 121, "a\0"]
)
def test_names_that_cannot_be_part_of_an_address_are_refused(name: str) -> None:
    with pytest.raises(ParameterInvalid, match="dataset name"):
        check_dataset_name(name)
    with pytest.raises(ParameterInvalid, match="model name"):
        check_model_name(name)


@pytest.mark.parametrize("name", [*STANDARD_ATTRIBUTES, "size_EU", "a", "x" * 64, "c_2nd"])
def test_valid_attribute_names_are_accepted(name: str) -> None:
    assert check_attribute_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "2nd", "_a", "a-b", "a b", "a.b", "a\u0308", "²a", "a\n", "x" * 65, *sorted(RESERVED_NAMES)]
)
def test_attribute_names_with_another_meaning_are_refused(name: str) -> None:
    with pytest.raises(ParameterInvalid, match="attribute name"):
        check_attribute_name(name)


def test_no_standard_attribute_is_reserved() -> None:
    assert not RESERVED_NAMES & set(STANDARD_ATTRIBUTES)


def test_the_payload_contains_identity_and_attributes() -> None:
    product = Product("shop", "1", "images/1.jpg", {"gender": "Men", "articleType": "Shirts", "year": 2012})
    assert product.payload() == {
        "product_id": "1",
        "dataset": "shop",
        "picture": "images/1.jpg",
        "gender": "Men",
        "articleType": "Shirts",
        "year": 2012,
        "genderArticleType": "Men|Shirts",
    }


@pytest.mark.parametrize("attributes", [{}, {"gender": "Men"}, {"articleType": "Shirts"}])
def test_the_composite_field_exists_only_with_both_parts(attributes: dict[str, str]) -> None:
    assert "genderArticleType" not in Product("shop", "1", "1.jpg", attributes).payload()
