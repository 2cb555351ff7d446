"""When indexing may change a collection in place, and what counts as a changed product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from indexer.dependencies import Dependencies
from indexer.generations import fits_in_place, newest_ready
from indexer.plan import IndexTarget
from indexer.start import chosen_mapping
from indexer.vectors import Vectors
from indexer.verify import payload_digest
from vitrine.products import VARIANT_FIELD, AttributeKind
from vitrine.qdrant.naming import Serving, collection_name
from vitrine.qdrant.profiles import Layout, Profile
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata, FieldType

RELEASE = "net-0123456789"
FIELDS: dict[str, FieldType] = {"size": "integer", "fit": "keyword"}
KINDS = {"size": AttributeKind.INTEGER, "fit": AttributeKind.KEYWORD}
TARGET = IndexTarget("0" * 21, "shop", "folder", Path("/shop"), "net", RELEASE, None)
READY = CollectionInfo(
    name="shop--made-0123456789",
    dim=8,
    points=0,
    schema=FIELDS,
    metadata=replace(TARGET.metadata, state="ready", published_at="2026-01-01T00:00:00+00:00"),
)


def with_metadata(facts: CollectionInfo, **changes: str) -> CollectionInfo:
    return replace(facts, metadata=replace(facts.metadata, **changes))  # type: ignore[arg-type]


def test_a_collection_with_the_same_configuration_is_changed_in_place() -> None:
    assert fits_in_place(READY, TARGET, dim=8, kinds=dict(reversed(KINDS.items())))


@pytest.mark.parametrize(
    "facts",
    [
        replace(READY, dim=16),
        replace(READY, dim=0),
        replace(READY, schema={**FIELDS, "size": "float"}),
        replace(READY, schema={**FIELDS, "fabric": "keyword"}),
        replace(READY, schema={"fit": "keyword"}),
        with_metadata(READY, root="/elsewhere"),
        with_metadata(READY, catalog="fashion-product"),
        replace(READY, metadata=replace(READY.metadata, mapping={"id": "Handle"})),
        with_metadata(READY, profile="memory"),
        replace(READY, metadata=replace(READY.metadata, replicas=2)),
    ],
)
def test_any_difference_requires_another_generation(facts: CollectionInfo) -> None:
    assert not fits_in_place(facts, TARGET, dim=8, kinds=KINDS)


def test_a_collection_is_changed_in_place_only_with_the_layout_that_is_set() -> None:
    stored_on_disk = with_metadata(READY, profile="disk")
    assert fits_in_place(stored_on_disk, TARGET, dim=8, kinds=KINDS, layout=Layout(Profile.DISK))
    assert not fits_in_place(stored_on_disk, TARGET, dim=8, kinds=KINDS, layout=Layout(Profile.DISK, shards=3))
    assert not fits_in_place(READY, TARGET, dim=8, kinds=KINDS, layout=Layout(Profile.MEMORY))


def test_the_first_product_with_several_pictures_requires_another_generation() -> None:
    assert not fits_in_place(READY, TARGET, dim=8, kinds=KINDS, several_pictures=True)
    several = replace(READY, several_pictures=True)
    assert fits_in_place(several, TARGET, dim=8, kinds=KINDS, several_pictures=True)
    # The last one of them may go without it.
    assert fits_in_place(several, TARGET, dim=8, kinds=KINDS)


def test_the_first_variants_require_another_generation() -> None:
    assert not fits_in_place(READY, TARGET, dim=8, kinds=KINDS, variants=True)
    known = replace(READY, schema={**FIELDS, VARIANT_FIELD: "keyword"})
    assert known.kinds == READY.kinds
    assert fits_in_place(known, TARGET, dim=8, kinds=KINDS, variants=True)
    assert fits_in_place(known, TARGET, dim=8, kinds=KINDS)


def test_the_own_id_in_place_of_a_shared_one_is_no_change() -> None:
    alone = {"product_id": "1", "picture": "1.jpg"}
    assert payload_digest({**alone, VARIANT_FIELD: "1"}) == payload_digest(alone)
    assert payload_digest({**alone, VARIANT_FIELD: "2"}) != payload_digest(alone)


def test_an_incomplete_generation_is_completed_unless_it_does_not_match() -> None:
    half = with_metadata(replace(READY, schema={"fit": "keyword"}), state="building")
    assert fits_in_place(half, TARGET, dim=8, kinds=KINDS)
    wrong = replace(half, schema={"size": "keyword"})
    assert not fits_in_place(wrong, TARGET, dim=8, kinds=KINDS)


def test_the_generation_that_passed_its_checks_last_is_the_newest() -> None:
    names = [collection_name("shop", RELEASE, number) for number in (1, 2, 3)]
    collections = {
        names[0]: with_metadata(READY, published_at="2026-01-03T00:00:00+00:00"),
        names[1]: READY,
        names[2]: with_metadata(READY, state="building", published_at="2026-01-09T00:00:00+00:00"),
        "other--net-0123456789": with_metadata(READY, published_at="2026-01-09T00:00:00+00:00"),
    }
    assert newest_ready(collections, "shop", RELEASE) == names[0]
    assert newest_ready({}, "shop", RELEASE) is None


def test_a_field_whose_type_changes_does_not_change_its_products() -> None:
    monday = {"product_id": "1", "size": 37, "price": 20, "picture_sha256": "a"}
    tuesday = {"product_id": "1", "size": 37.0, "price": 20.0, "picture_sha256": "a"}
    wednesday = {"picture_sha256": "a", "product_id": "1", "size": "37", "price": "20"}
    assert payload_digest(monday) == payload_digest(tuesday) == payload_digest(wednesday)
    assert payload_digest({**monday, "picture_sha256": "b"}) != payload_digest(monday)
    assert payload_digest({**monday, "size": 38}) != payload_digest(monday)
    assert CollectionMetadata.parse(READY.metadata.as_dict()) == READY.metadata


@dataclass
class Served(Vectors):
    """The collections that serve, as a store lists them."""

    collections: dict[str, CollectionInfo]

    def servings(self) -> list[Serving]:
        return [
            Serving(one.metadata.dataset, one.metadata.model, one.metadata.release_id, name)
            for name, one in self.collections.items()
        ]

    def describe(self, collection: str) -> CollectionInfo | None:
        return self.collections.get(collection)


def test_a_dataset_keeps_the_columns_that_were_named_last() -> None:
    def named(dataset: str, column: str, day: int) -> CollectionInfo:
        metadata = replace(READY.metadata, dataset=dataset, mapping={"id": column}, published_at=f"2026-01-0{day}")
        return replace(READY, metadata=metadata)

    served = {"a": named("shop", "old", 1), "b": named("shop", "Handle", 2), "c": named("other", "x", 3)}
    deps = cast(Dependencies, SimpleNamespace(vectors=Served(served)))
    assert chosen_mapping(deps, TARGET) == {"id": "Handle"}
    assert chosen_mapping(deps, replace(TARGET, mapping={})) == {}
    assert chosen_mapping(deps, replace(TARGET, mapping={"id": "SKU"})) == {"id": "SKU"}
    assert chosen_mapping(deps, replace(TARGET, dataset="new")) == {}
