"""Products with exactly the same score are ordered by id, for any number of results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from qdrant_client import models

from harness.processes import LocalQdrant
from search_api.search.rerank import PLAIN, Refinement, fused
from search_api.search.retrieval import Prepared, Retrieval, Wanted
from search_api.ties import with_ties
from search_api.vector_store import Query, VectorStore
from vitrine.products import AttributeKind, Product
from vitrine.qdrant.client import create_collection, open_async_qdrant, open_qdrant
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.schema import CollectionMetadata

DIM = 4
TWINS = 12  # products of each picture
# Nearest first. Numeric ids are ordered as numbers, before the other ids.
SHADES = 8
METADATA = CollectionMetadata("shop", "tiny", "tiny-0123456789", catalog="folder", root="/shop", state="building")


def vector(shade: int) -> list[float]:
    return [1.0, shade / 10, 0.0, 0.0]


def ids_of(shade: int) -> list[str]:
    """The ids of one picture's products in the expected order."""
    return [*(str(shade + SHADES * number) for number in range(TWINS - 2)), f"a{shade}", f"b{shade}"]


ORDER = [product_id for shade in range(SHADES) for product_id in ids_of(shade)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = LocalQdrant(tmp_path_factory.mktemp("qdrant"))
    client = open_qdrant(server.url)
    name = create_collection(client, METADATA, dim=DIM, kinds={"colour": AttributeKind.KEYWORD})
    products = [
        (Product("shop", product_id, "", {"colour": f"colour {shade // 2}"}), vector(shade))
        for shade in reversed(range(SHADES))
        for product_id in reversed(ids_of(shade))
    ]
    for half in (products[::2], products[1::2]):  # neighbours are far apart
        points = [models.PointStruct(id=one.point_id, vector=at, payload=one.payload()) for one, at in half]
        client.upsert(name, points, wait=True)
    client.close()
    yield server.url
    server.kill()


def answers(
    url: str, query: Query, counts: list[int], *, group_by: str | None = None, refine: Refinement = PLAIN
) -> list[list[str]]:
    """The ids that searches for these numbers of products return."""

    async def ask() -> list[list[str]]:
        store = VectorStore(open_async_qdrant(url), alias_ttl_s=1, collection_ttl_s=5, match_count_ttl_s=1)
        retrieval = Retrieval(store, planner=Planner())
        name = f"{METADATA.dataset}--{METADATA.release_id}"
        serving = Serving("shop", "tiny", METADATA.release_id, name)
        prepared = Prepared(serving, await store.collection(name), FilterSpec())
        try:
            found = [
                await retrieval.nearest(
                    prepared, query, Wanted(count, group_by=group_by), plan=Plan.EXACT, refine=refine
                )
                for count in counts
            ]
        finally:
            await store.close()
        return [[str((point.payload or {})["product_id"]) for point in points] for points in found]

    return asyncio.run(ask())


COUNTS = [1, 2, 3, 5, 11, 12, 13, 20, 40, 95, 96, 150]


def test_every_shorter_answer_is_a_prefix_of_the_longest(url: str) -> None:
    assert answers(url, vector(0), COUNTS) == [ORDER[:count] for count in COUNTS]


def test_a_recommendation_has_the_same_order(url: str) -> None:
    query = models.RecommendQuery(recommend=models.RecommendInput(positive=[vector(0), vector(0)]))
    assert answers(url, query, COUNTS) == [ORDER[:count] for count in COUNTS]


def test_a_search_by_a_product_leaves_it_out_and_keeps_the_order(url: str) -> None:
    query = Product("shop", ORDER[0], "").point_id
    assert answers(url, query, COUNTS) == [ORDER[1 : count + 1] for count in COUNTS]


def test_a_group_is_represented_by_its_first_product(url: str) -> None:
    firsts = [ids_of(shade)[0] for shade in range(0, SHADES, 2)]
    assert answers(url, vector(0), [1, 2, 3, 10], group_by="colour") == [firsts[:count] for count in (1, 2, 3, 10)]


def test_groups_of_the_same_score_are_cut_by_the_ids_of_their_first_products(url: str) -> None:
    # Orthogonal to all of them: every score is 0.
    names = answers(url, [0.0, 0.0, 1.0, 0.0], [1, 2, 3, 4], group_by="colour")
    assert names == [names[-1][:count] for count in (1, 2, 3, 4)]
    assert names[-1] == [ids_of(shade)[0] for shade in range(0, SHADES, 2)]


@pytest.mark.parametrize("rerank", [5, 18, 30])
def test_a_reranked_answer_is_a_prefix_of_the_longest(url: str, rerank: int) -> None:
    counts = [1, 4, 17, 30]
    found = answers(url, vector(0), counts, refine=Refinement(rerank=rerank))
    assert found == [found[-1][:count] for count in counts]


def test_fused_points_of_the_same_sum_are_ordered_by_id() -> None:
    points = [
        models.ScoredPoint(id=number, version=0, score=0.5, payload={"product_id": name})
        for number, name in enumerate(["x", "10", "9"])
    ]
    names = [(point.payload or {})["product_id"] for point in fused(points, {"0": 0.1, "1": 0.1, "2": 0.1}, 0.5)]
    assert names == ["9", "10", "x"]


def test_more_results_are_requested_only_if_the_last_score_is_tied() -> None:
    asked: list[int] = []

    def over(scores: list[float]) -> Callable[[int], Awaitable[list[float]]]:
        async def ask(count: int) -> list[float]:
            asked.append(count)
            return scores[:count]

        return ask

    def found(scores: list[float], limit: int, **options: Any) -> list[float]:
        asked.clear()
        return asyncio.run(with_ties(over(scores), limit, score=lambda score: score, most=options.get("most", 100)))

    assert (found([3, 2, 1], 2), asked) == ([3, 2], [3])
    assert (found([3, 2, 2, 2, 1], 2), asked) == ([3, 2, 2, 2], [3, 12])
    assert (found([2] * 50, 2), asked) == ([2] * 50, [3, 12, 48, 100])
    assert (found([2] * 50, 2, most=20), asked) == ([2] * 20, [3, 12, 20])
    assert (found([1], 5), asked) == ([1], [6])
