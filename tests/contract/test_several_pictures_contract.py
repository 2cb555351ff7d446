"""Points with a vector for each picture of their product, tested on the local Qdrant and on the real server."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from harness.circle import DIM, IDS, POINTS, field, must, number_of, payload, unit, vector
from harness.waiting import wait_until
from vitrine.products import AttributeKind
from vitrine.qdrant.client import create_collection, picture_vectors, vectors_of
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata

EXACT = models.SearchParams(exact=True)
# Each point has its own place on the circle, the one opposite, and one on the third axis that all of them share.
SHARED = [0.0, 0.0, 1.0, 0.0]


def places(number: int) -> list[list[float]]:
    return [vector(number), SHARED, vector(number + 0.25)]


@pytest.fixture
def several(qdrant: QdrantClient) -> Iterator[str]:
    """A collection of products with three pictures each, as Vitrine creates it."""
    dataset = f"shop{uuid.uuid4().hex[:8]}"
    wanted = CollectionMetadata(
        dataset=dataset, model="m", release_id="m-0123456789", catalog="folder", root="/shop", state="building"
    )
    name = create_collection(
        qdrant,
        wanted,
        dim=DIM,
        kinds={"gender": AttributeKind.KEYWORD, "year": AttributeKind.INTEGER},
        several_pictures=True,
    )
    points = [models.PointStruct(id=IDS[n], vector=places(n), payload=payload(n)) for n in range(POINTS)]
    qdrant.upsert(name, points, wait=True)
    yield name
    qdrant.delete_collection(name)


def test_a_collection_says_that_its_points_have_several_vectors(qdrant: QdrantClient, several: str) -> None:
    info = CollectionInfo.parse(several, qdrant.get_collection(several))
    assert info is not None
    assert (info.dim, info.several_pictures, info.points) == (DIM, True, POINTS)


@pytest.mark.parametrize("nested", [False, True], ids=["a vector", "a list of one vector"])
@pytest.mark.parametrize("offset", [0.0, 0.25], ids=["first", "last"])
def test_a_point_is_found_once_by_each_of_its_vectors_with_the_score_of_the_nearest(
    qdrant: QdrantClient, several: str, offset: float, nested: bool
) -> None:
    query = vector(7 + offset)
    hits = qdrant.query_points(several, query=[query] if nested else query, limit=POINTS, search_params=EXACT).points
    assert sorted(number_of(hit.id) for hit in hits) == list(range(POINTS))
    assert number_of(hits[0].id) == 7
    assert hits[0].score == pytest.approx(1.0)
    nearest = min(abs(7 + offset - other) for other in (6, 6.25, 8, 8.25))
    assert hits[1].score == pytest.approx(math.cos(2 * math.pi * nearest / POINTS), abs=1e-6)


def test_a_vector_that_all_points_share_finds_all_of_them_alike(qdrant: QdrantClient, several: str) -> None:
    hits = qdrant.query_points(several, query=SHARED, limit=POINTS, search_params=EXACT).points
    assert len({hit.id for hit in hits}) == POINTS
    assert [hit.score for hit in hits] == pytest.approx([1.0] * POINTS)


def test_counts_facets_and_pages_are_of_points(qdrant: QdrantClient, several: str) -> None:
    men = must(field("gender", "Men"))
    assert qdrant.count(several, count_filter=men, exact=True).count == POINTS // 3
    counted = {hit.value: hit.count for hit in qdrant.facet(several, "gender", exact=True).hits}
    assert counted == {"Men": 20, "Women": 20, "Boys": 20}
    first = qdrant.query_points(several, query=vector(3), limit=10, query_filter=men).points
    following = qdrant.query_points(several, query=vector(3), limit=10, offset=10, query_filter=men).points
    assert {number_of(hit.id) for hit in (*first, *following)} == set(range(0, POINTS, 3))
    groups = qdrant.query_points_groups(several, "gender", query=vector(3), limit=3, group_size=2).groups
    assert {group.id: number_of(group.hits[0].id) for group in groups}["Men"] == 3


def test_vectors_are_read_as_lists_of_unit_length(qdrant: QdrantClient, several: str) -> None:
    [record] = qdrant.retrieve(several, [IDS[4]], with_vectors=True)
    assert vectors_of([record])[IDS[4]].tolist() == [
        pytest.approx(expected, abs=1e-6) for expected in (unit(4), SHARED, unit(4.25))
    ]
    hits = qdrant.query_points(several, query=vector(4), limit=1, with_vectors=True).points
    assert picture_vectors(hits[0].vector).shape == (3, DIM)


def test_a_point_may_have_any_number_of_vectors_and_change_it(qdrant: QdrantClient, several: str) -> None:
    for vectors in ([vector(40)], [vector(40), vector(50), SHARED, vector(20)], [vector(41)]):
        qdrant.upsert(several, [models.PointStruct(id=IDS[0], vector=vectors, payload=payload(0))], wait=True)
        [record] = qdrant.retrieve(several, [IDS[0]], with_vectors=True)
        assert len(vectors_of([record])[IDS[0]]) == len(vectors)
    assert qdrant.count(several, exact=True).count == POINTS


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], [vector(1), [1.0]], [[1.0] * DIM * 2]])
def test_lists_of_vectors_of_another_size_are_refused(
    qdrant: QdrantClient, several: str, wrong: list[list[float]]
) -> None:
    with pytest.raises(UnexpectedResponse):
        qdrant.upsert(several, [models.PointStruct(id=IDS[0], vector=wrong)], wait=True)


def test_a_list_of_vectors_is_refused_where_points_have_one(qdrant: QdrantClient, collection: str) -> None:
    with pytest.raises(UnexpectedResponse):
        qdrant.upsert(collection, [models.PointStruct(id=IDS[0], vector=places(0))], wait=True)


def test_a_graph_is_built_and_finds_each_point_by_each_of_its_vectors(qdrant: QdrantClient) -> None:
    name, count = f"contract.{uuid.uuid4().hex}", 1_500
    qdrant.create_collection(
        name,
        vectors_config=models.VectorParams(
            size=2,
            distance=models.Distance.COSINE,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        ),
        # Reached by counting all vectors, and not by counting points.
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=20, default_segment_number=1),
    )
    try:
        scale = POINTS / count
        points = [
            models.PointStruct(id=n, vector=[vector(n * scale)[:2], vector((n + 0.3) * scale)[:2]])
            for n in range(count)
        ]
        qdrant.upsert(name, points, wait=True)

        def indexed() -> bool:
            info = qdrant.get_collection(name)
            return bool(info.indexed_vectors_count) and info.status == models.CollectionStatus.GREEN

        wait_until(indexed, what="the graph")
        for n in range(0, count, 100):
            for offset in (0, 0.3):
                hits = qdrant.query_points(
                    name,
                    query=vector((n + offset) * scale)[:2],
                    limit=3,
                    search_params=models.SearchParams(hnsw_ef=256),
                ).points
                assert hits[0].id == n
    finally:
        qdrant.delete_collection(name)
