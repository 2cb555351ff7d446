"""Collections of each storage profile: they are made as the profile says, searched, and extended."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from qdrant_client import QdrantClient, models

from harness.circle import DIM, IDS, field, must, number_of, payload, points, vector
from harness.containers import QdrantBackend
from vitrine.errors import VectorStoreRefused
from vitrine.products import AttributeKind as K
from vitrine.qdrant.client import add_attributes, create_collection
from vitrine.qdrant.errors import qdrant_errors
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.profiles import Layout, Profile
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata

KINDS = {"gender": K.KEYWORD, "year": K.INTEGER, "price": K.DECIMAL, "sale": K.BOOLEAN, "added": K.DATE}
PROFILES = list(Profile)


def new_metadata() -> CollectionMetadata:
    return CollectionMetadata(
        dataset=f"shop{uuid.uuid4().hex[:8]}",
        model="tiny",
        release_id="tiny-0123456789",
        catalog="folder",
        root="/shop",
        state="building",
    )


@pytest.fixture
def made(qdrant: QdrantClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """A collection of the profile with the points of the circle."""
    name = create_collection(qdrant, new_metadata(), dim=DIM, kinds=KINDS, layout=Layout(request.param))
    qdrant.upsert(name, points(), wait=True)
    yield name
    qdrant.delete_collection(name)


def described(qdrant: QdrantClient, name: str) -> CollectionInfo:
    info = CollectionInfo.parse(name, qdrant.get_collection(name))
    assert info is not None
    return info


@pytest.mark.parametrize("made", PROFILES, indirect=True)
def test_a_collection_remembers_its_layout(qdrant: QdrantClient, made: str) -> None:
    info = described(qdrant, made)
    profile = info.layout.profile
    assert info.layout == Layout(profile)
    assert info.quantized is (profile is not Profile.EXACT)
    config = qdrant.get_collection(made).config
    assert isinstance(config.params.vectors, models.VectorParams)
    assert bool(config.params.vectors.on_disk) is info.quantized
    expected = {Profile.EXACT: (16, False), Profile.MEMORY: (10, False), Profile.DISK: (10, True)}[profile]
    assert (config.hnsw_config.m, bool(config.hnsw_config.on_disk)) == expected
    assert info.kinds.items() >= KINDS.items()


@pytest.mark.parametrize("plan", list(Plan))
@pytest.mark.parametrize("made", PROFILES, indirect=True)
def test_searches_find_the_nearest_with_their_full_scores(qdrant: QdrantClient, made: str, plan: Plan) -> None:
    params = Planner().params(plan, top_k=3, info=described(qdrant, made))
    women = must(field("gender", "Women"))
    found = qdrant.query_points(made, query=vector(10.2), limit=3, search_params=params, query_filter=women).points
    assert [number_of(point.id) for point in found] == [10, 13, 7]
    exact = qdrant.query_points(
        made, query=vector(10.2), limit=3, search_params=models.SearchParams(exact=True), query_filter=women
    ).points
    assert [point.score for point in found] == pytest.approx([point.score for point in exact], abs=1e-6)


@pytest.mark.parametrize("made", PROFILES, indirect=True)
def test_every_kind_of_attribute_is_filtered_and_another_can_be_added(qdrant: QdrantClient, made: str) -> None:
    add_attributes(qdrant, made, {"season": K.KEYWORD})
    assert described(qdrant, made).kinds["season"] is K.KEYWORD
    for condition, expected in (
        (field("season", "Summer"), 5),
        (field("year", 2004), 6),
        (models.FieldCondition(key="price", range=models.Range(gte=1.0, lte=2.0)), 3),
        (field("sale", True), 30),
        (models.FieldCondition(key="added", range=models.DatetimeRange(gte=datetime(2024, 1, 29, tzinfo=UTC))), 2),
    ):
        assert qdrant.count(made, must(condition), exact=True).count == expected
    assert qdrant.retrieve(made, [IDS[7]])[0].payload == payload(7)


@pytest.mark.parametrize(("layout", "named"), [(Layout(shards=2), "shard_number"), (Layout(replicas=3), "replication")])
def test_the_local_qdrant_refuses_shards_and_copies_by_name(
    qdrant: QdrantClient, qdrant_backend: QdrantBackend, layout: Layout, named: str
) -> None:
    metadata = new_metadata()
    if qdrant_backend.name == "local":
        with pytest.raises(VectorStoreRefused, match=named), qdrant_errors():
            create_collection(qdrant, metadata, dim=DIM, kinds=KINDS, layout=layout)
        return
    name = create_collection(qdrant, metadata, dim=DIM, kinds=KINDS, layout=layout)
    assert described(qdrant, name).layout == layout
    assert qdrant.get_collection(name).config.params.shard_number == layout.shards
    qdrant.delete_collection(name)
