"""Collection names contain dataset and release, so that vector spaces are never mixed."""

from __future__ import annotations

import pytest
from qdrant_client import models

from vitrine.errors import ParameterInvalid
from vitrine.qdrant.aliases import switch_operations
from vitrine.qdrant.naming import Serving, alias_name, collection_name, generation_of, parse_collection_name, serving_of
from vitrine.qdrant.schema import CollectionMetadata

RELEASE = "mobilenetv2_100-0123456789"


def test_a_collection_name_contains_dataset_and_release_and_can_be_parsed() -> None:
    name = collection_name("fashion-product", RELEASE)
    assert name == "fashion-product--mobilenetv2_100-0123456789"
    assert parse_collection_name(name) == ("fashion-product", RELEASE)


def test_another_generation_has_its_own_name_and_the_same_alias() -> None:
    name = collection_name("fashion-product", RELEASE, 12)
    assert name == "fashion-product--mobilenetv2_100-0123456789--12"
    assert parse_collection_name(name) == ("fashion-product", RELEASE)
    assert [generation_of(one) for one in (name, collection_name("fashion-product", RELEASE))] == [12, 1]
    serving = serving_of(alias_name("fashion-product", "mobilenetv2_100"), name)
    assert serving == Serving("fashion-product", "mobilenetv2_100", RELEASE, name)


@pytest.mark.parametrize(
    "name",
    [
        "", "other", "--m-0123456789", "fashion-product--model", "a--b-012345678z", "a--m-0123456789--",
        "a--m-0123456789--1", "a--m-0123456789--02", "a--m-0123456789--2--2", "a--m-0123456789--x",
    ],
)  # fmt: skip
def test_a_collection_of_another_application_is_ignored(name: str) -> None:
    assert parse_collection_name(name) is None


@pytest.mark.parametrize("dataset", ["", "a--b", "-a", "a-", "a/b", "a b", "é", "x" * 200])
def test_a_dataset_name_that_would_break_the_collection_name_is_refused(dataset: str) -> None:
    with pytest.raises(ParameterInvalid):
        collection_name(dataset, RELEASE)


def test_an_alias_to_a_collection_of_another_model_is_not_served() -> None:
    assert serving_of(alias_name("shop", "resnet50"), collection_name("shop", RELEASE)) is None
    assert serving_of(alias_name("other", "mobilenetv2_100"), collection_name("shop", RELEASE)) is None
    assert serving_of(alias_name("shop", "mobilenetv2_100"), collection_name("shop", RELEASE)) == Serving(
        "shop", "mobilenetv2_100", RELEASE, f"shop--{RELEASE}"
    )


def test_a_switch_deletes_and_creates_the_alias_in_one_list() -> None:
    serving = Serving("shop", "m", "m-0123456789", "shop--m-0123456789")
    fresh, previous = switch_operations([], serving)
    assert (len(fresh), previous) == (1, None)
    known = models.AliasDescription(alias_name="shop--m", collection_name="shop--m-aaaaaaaaaa")
    both, previous = switch_operations([known], serving)
    assert [type(operation).__name__ for operation in both] == ["DeleteAliasOperation", "CreateAliasOperation"]
    assert previous == "shop--m-aaaaaaaaaa"


def test_metadata_of_a_foreign_collection_is_not_accepted() -> None:
    ours = CollectionMetadata("shop", "m", "m-0123456789", "folder", "pictures", "building")
    assert CollectionMetadata.parse(ours.as_dict()) == ours
    assert CollectionMetadata.parse({**ours.as_dict(), "later_field": 1}) == ours
    assert CollectionMetadata.parse(None) is None
    assert CollectionMetadata.parse({"something": "else"}) is None
