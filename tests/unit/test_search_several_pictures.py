"""Searches among products with several pictures, on the local Qdrant: by pictures, by products and by examples."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from qdrant_client import models

from harness.processes import LocalQdrant
from search_api.answers import search_answer
from search_api.products.pictures import digest_of, paths_of
from search_api.search.rerank import Refinement, expanded, vector_of
from search_api.search.retrieval import Prepared, Retrieval, Wanted
from search_api.search.several import matched_pictures, query_of_examples, query_of_product
from search_api.vector_store import VectorStore
from vitrine.errors import ProductNotFound
from vitrine.products import AttributeKind, Product, point_id
from vitrine.qdrant.client import create_collection, open_async_qdrant, open_qdrant
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.schema import CollectionMetadata

DIM = 5
METADATA = CollectionMetadata("shop", "tiny", "tiny-0123456789", catalog="folder", root="/shop", state="building")
NAME = f"{METADATA.dataset}--{METADATA.release_id}"
# The last two share a label on a picture that is not their face.
LABEL = [0.0, 0.0, 0.0, 0.0, 1.0]
PICTURES: dict[str, list[list[float]]] = {
    "dress": [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0, 0.0]],
    "skirt": [[0.8, 0.6, 0.0, 0.0, 0.0]],
    "shirt": [[0.0, 0.0, 1.0, 0.0, 0.0], LABEL],
    "shoe": [[0.0, 0.0, 0.0, 1.0, 0.0], LABEL],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = LocalQdrant(tmp_path_factory.mktemp("qdrant"))
    client = open_qdrant(server.url)
    create_collection(client, METADATA, dim=DIM, kinds={"kind": AttributeKind.KEYWORD}, several_pictures=True)
    for name, vectors in PICTURES.items():
        files = [f"{name}{number}.jpg" for number in range(len(vectors))]
        product = Product("shop", name, files[0], {"kind": name}, tuple(files[1:]))
        client.upsert(
            NAME, [models.PointStruct(id=product.point_id, vector=vectors, payload=product.payload())], wait=True
        )
    client.close()
    yield server.url
    server.kill()


def run(url: str, ask: Callable[[Retrieval, Prepared], Awaitable[Any]]) -> Any:
    async def asked() -> Any:
        store = VectorStore(open_async_qdrant(url), alias_ttl_s=1, collection_ttl_s=5, match_count_ttl_s=1)
        serving = Serving("shop", "tiny", METADATA.release_id, NAME)
        prepared = Prepared(serving, await store.collection(NAME), FilterSpec())
        try:
            return await ask(Retrieval(store, planner=Planner()), prepared)
        finally:
            await store.close()

    return asyncio.run(asked())


def found_by(url: str, query: list[float], **wanted: Any) -> list[dict[str, Any]]:
    """The results of a search by a vector, as the API answers them."""

    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[dict[str, Any]]:
        points = await retrieval.nearest(prepared, query, Wanted(**{"top_k": 10, **wanted}), plan=Plan.EXACT)
        matched = await matched_pictures(retrieval.store, prepared, query, points)
        answer = search_answer(prepared.serving, points, matched, plan="exact", took_ms={})
        results: list[dict[str, Any]] = answer["results"]
        return results

    results: list[dict[str, Any]] = run(url, ask)
    return results


@pytest.mark.parametrize(
    ("product", "index"), [(name, index) for name, rows in PICTURES.items() for index in range(len(rows))]
)
def test_a_product_is_found_once_by_each_picture_and_says_which(url: str, product: str, index: int) -> None:
    results = found_by(url, PICTURES[product][index])
    assert sorted(one["id"] for one in results) == sorted(PICTURES)
    best = {one["id"]: one for one in results if one["score"] > 0.99}
    own = best[product]
    address = f"/api/images/{product}?dataset=shop"
    assert own["image"] == address
    if len(PICTURES[product]) == 1:
        assert "matchedPicture" not in own
        assert "pictures" not in own
    else:
        assert own["pictures"] == [address, *(f"{address}&picture={one}" for one in range(1, len(PICTURES[product])))]
        assert own["matchedPicture"] == {"index": index, "image": own["pictures"][index]}


def test_pages_and_groups_are_of_products(url: str) -> None:
    whole = [one["id"] for one in found_by(url, PICTURES["dress"][0])]
    pages = [found_by(url, PICTURES["dress"][0], top_k=1, offset=offset) for offset in range(5)]
    assert [[one["id"] for one in page] for page in pages] == [[name] for name in whole] + [[]]
    assert found_by(url, PICTURES["dress"][1], group_by="kind")[0]["id"] == "dress"


def similar_to(url: str, product: str) -> list[str]:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        other, query = await query_of_product(retrieval.store, prepared, point_id("shop", product))
        points = await retrieval.nearest(other, query, Wanted(10), plan=Plan.EXACT)
        return [str((point.payload or {})["product_id"]) for point in points]

    found: list[str] = run(url, ask)
    return found


def test_a_product_asks_by_its_face_and_does_not_find_itself(url: str) -> None:
    assert similar_to(url, "dress")[0] == "skirt"
    assert "dress" not in similar_to(url, "dress")
    # By all pictures it would be the shirt, for its label.
    assert len(similar_to(url, "shoe")) == 3


def test_examples_are_averaged_by_their_faces_and_left_out(url: str) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        liked: list[str | list[float]] = [point_id("shop", "skirt"), PICTURES["dress"][1]]
        other, query = await query_of_examples(retrieval.store, prepared, liked, [point_id("shop", "shoe")])
        assert query == pytest.approx([0.8, 1.6, 0.0, -1.0, 0.0])
        points = await retrieval.nearest(other, query, Wanted(10), plan=Plan.EXACT)
        return [str((point.payload or {})["product_id"]) for point in points]

    assert run(url, ask) == ["dress", "shirt"]


def test_an_example_that_was_removed_meanwhile_is_named_as_such(url: str) -> None:
    with pytest.raises(ProductNotFound, match="removed"):
        similar_to(url, "gone")


def test_expansion_and_reranking_use_the_picture_that_is_near_the_query() -> None:
    point = models.ScoredPoint(id=1, version=0, score=1.0, vector=PICTURES["dress"])
    assert vector_of(point, PICTURES["dress"][1]).tolist() == PICTURES["dress"][1]
    assert expanded(PICTURES["dress"][1], [point], 1.0) == pytest.approx(PICTURES["dress"][1])


def test_refined_searches_run_on_several_pictures(url: str) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        query = PICTURES["dress"][1]
        refine = Refinement(expand=2, alpha=1.0, rerank=4)
        points = await retrieval.nearest(prepared, query, Wanted(4), plan=Plan.EXACT, refine=refine)
        return [str((point.payload or {})["product_id"]) for point in points]

    assert run(url, ask)[0] == "dress"


def test_the_files_of_a_stored_product_are_named_from_the_face_on() -> None:
    one = {"picture": "a.jpg", "picture_sha256": "1"}
    several = {**one, "pictures": ["a.jpg", "b.jpg"], "pictures_sha256": ["1", "2"]}
    assert (paths_of(one), digest_of(one), digest_of(one, 1)) == (["a.jpg"], "1", None)
    assert (paths_of(several), digest_of(several, 1), digest_of(several, 2)) == (["a.jpg", "b.jpg"], "2", None)
