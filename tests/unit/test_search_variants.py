"""Searches in a catalogue with variants, on the local Qdrant: one of each product, its nearest variant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import models

from harness.processes import LocalQdrant
from search_api.search.facets import count_facets, why_nothing
from search_api.search.rerank import Refinement, fused_search
from search_api.search.retrieval import Prepared, Retrieval, Wanted
from search_api.search.several import query_of_examples, query_of_product, without_variants
from search_api.search.variants import count_more
from search_api.vector_store import VectorStore
from vitrine.evaluation.ranking import unit_rows
from vitrine.products import VARIANT_FIELD, AttributeKind, AttributeValue, Product, group_of, point_id, public_id
from vitrine.qdrant.client import create_collection, open_async_qdrant, open_qdrant
from vitrine.qdrant.filters import FilterSpec, parse_filters
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.schema import CollectionMetadata

DIM = 16
COLOURS = ("Red", "Blue", "Green", "Black")
SIZES = ("S", "M", "L")
KINDS = {"colour": AttributeKind.KEYWORD, "size": AttributeKind.KEYWORD, "price": AttributeKind.DECIMAL}
ONE_PICTURE, SEVERAL_PICTURES, WITHOUT_VARIANTS = "tiny-0000000001", "tiny-0000000002", "tiny-0000000003"
RELEASES = (ONE_PICTURE, SEVERAL_PICTURES, WITHOUT_VARIANTS)


def drawn_shop() -> list[tuple[Product, np.ndarray]]:
    """Products with the vectors of their pictures. The sizes of a colour share their pictures, so their scores tie."""
    chance = np.random.default_rng(20)
    found = []
    for number in range(40):
        centre = chance.normal(size=DIM)
        if number % 4 == 0:
            found.append((Product("shop", f"{number}", "face.jpg", {"colour": "Red", "price": 10.0}), [centre]))
            continue
        for colour in COLOURS[: 1 + number % 4]:
            shades = [centre + 0.4 * chance.normal(size=DIM) for _ in range(2)]
            for size in SIZES:
                attributes: dict[str, AttributeValue] = {"colour": colour, "size": size, "price": 10.0 + number}
                one = Product(
                    "shop", f"{number}-{colour}-{size}", "0.jpg", attributes, ("1.jpg",), variant_of=f"P{number}"
                )
                found.append((one, shades))
    return [(product, unit_rows(np.asarray(vectors, dtype=np.float32))) for product, vectors in found]


SHOP = drawn_shop()
GROUPS = {product.id: product.variant_of or product.id for product, _ in SHOP}


def name_of(release: str) -> str:
    return f"shop--{release}"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = LocalQdrant(tmp_path_factory.mktemp("qdrant"))
    client = open_qdrant(server.url)
    for release in RELEASES:
        metadata = CollectionMetadata("shop", "tiny", release, catalog="folder", root="/shop", state="building")
        several, variants = release == SEVERAL_PICTURES, release != WITHOUT_VARIANTS
        create_collection(client, metadata, dim=DIM, kinds=KINDS, several_pictures=several, variants=variants)
        points = []
        for product, vectors in SHOP:
            payload = product.payload()
            payload[VARIANT_FIELD] = group_of(payload)
            if not variants:
                del payload[VARIANT_FIELD]
            vector = vectors.tolist() if several else vectors[0].tolist()
            points.append(models.PointStruct(id=product.point_id, vector=vector, payload=payload))
        client.upsert(name_of(release), points, wait=True)
    client.close()
    yield server.url
    server.kill()


def run(
    url: str,
    ask: Callable[[Retrieval, Prepared], Awaitable[Any]],
    *,
    release: str = ONE_PICTURE,
    filters: list[tuple[str, str]] | None = None,
    one_of_each: bool = True,
) -> Any:
    async def asked() -> Any:
        store = VectorStore(open_async_qdrant(url), alias_ttl_s=1, collection_ttl_s=5, match_count_ttl_s=1)
        retrieval = Retrieval(store, planner=Planner())
        serving = Serving("shop", "tiny", release, name_of(release))
        try:
            prepared = await retrieval.prepare(serving, filters or [], one_of_each=one_of_each)
            return await ask(retrieval, prepared)
        finally:
            await store.close()

    return asyncio.run(asked())


def ids_of(points: list[models.ScoredPoint]) -> list[str]:
    return [str((point.payload or {})["product_id"]) for point in points]


def search(url: str, query: list[float], *, refine: Refinement | None = None, **wanted: Any) -> list[str]:
    where = {name: wanted.pop(name) for name in ("release", "filters", "one_of_each") if name in wanted}

    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        more = {} if refine is None else {"refine": refine}
        found = await retrieval.nearest(prepared, query, Wanted(**{"top_k": 500, **wanted}), plan=Plan.EXACT, **more)
        return ids_of(found)

    found: list[str] = run(url, ask, **where)
    return found


def query_number(number: int) -> list[float]:
    return [float(one) for one in unit_rows(np.random.default_rng(number).normal(size=(1, DIM)).astype(np.float32))[0]]


def best_of_each(query: list[float], *, several: bool, matches: Callable[[Product], bool]) -> list[str]:
    """By hand: the matching variants by score and id, and the first of each product."""
    rows = []
    for product, vectors in SHOP:
        if matches(product):
            scores = (vectors if several else vectors[:1]) @ np.asarray(query, dtype=np.float32)
            shown = public_id(product.id)
            rows.append((-round(float(scores.max()), 5), isinstance(shown, str), shown, product.id))
    first: dict[str, str] = {}
    for *_, name in sorted(rows):
        first.setdefault(GROUPS[name], name)
    return list(first.values())


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    release=st.sampled_from([ONE_PICTURE, SEVERAL_PICTURES]),
    colours=st.sets(st.sampled_from(COLOURS), max_size=3),
    size=st.sampled_from(["", *SIZES]),
    page=st.integers(7, 25),
)
def test_pages_have_each_matching_product_once(
    url: str, seed: int, release: str, colours: set[str], size: str, page: int
) -> None:
    query = query_number(seed)
    filters = [*(("colour", one) for one in sorted(colours)), *([("size", size)] if size else [])]

    def matches(product: Product) -> bool:
        own = product.attributes
        return (not colours or own["colour"] in colours) and (not size or own.get("size") == size)

    expected = best_of_each(query, several=release == SEVERAL_PICTURES, matches=matches)
    shown: list[str] = []
    while True:
        part = search(url, query, release=release, filters=filters, top_k=page, offset=len(shown))
        shown += part
        if len(part) < page:
            break
    assert [GROUPS[one] for one in shown] == list(dict.fromkeys(GROUPS[one] for one in shown))
    assert shown == expected
    assert run(url, lambda retrieval, prepared: retrieval.total(prepared), release=release, filters=filters) == len(
        expected
    )


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 1_000),
    field=st.sampled_from(["colour", "size", "price"]),
    page=st.integers(1, 5),
    release=st.sampled_from([ONE_PICTURE, SEVERAL_PICTURES]),
)
def test_groups_share_neither_a_value_nor_a_product(url: str, seed: int, field: str, page: int, release: str) -> None:
    query = query_number(seed)
    whole = search(url, query, release=release, group_by=field)
    attributes = {product.id: product.attributes for product, _ in SHOP}
    values = [attributes[one][field] for one in whole]
    assert len(set(values)) == len(values)
    assert len({GROUPS[one] for one in whole}) == len(whole)
    assert search(url, query, release=release, group_by=field, top_k=page, offset=1) == whole[1 : 1 + page]


@pytest.mark.parametrize("release", [ONE_PICTURE, SEVERAL_PICTURES])
def test_all_variants_are_found_on_request(url: str, release: str) -> None:
    found = search(url, query_number(1), release=release, one_of_each=False)
    assert sorted(found) == sorted(product.id for product, _ in SHOP)
    total = run(url, lambda retrieval, one: retrieval.total(one), release=release, one_of_each=False)
    assert total == len(SHOP)


def test_a_catalogue_without_variants_is_searched_in_one_request(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> int:
        assert not prepared.one_of_each

        async def never(*_: Any, **__: Any) -> Any:
            raise AssertionError("variants are counted")

        monkeypatch.setattr(retrieval.store, "facet", never)
        assert await count_more(retrieval.store, prepared.info, None, ["P1"]) == {}
        await without_variants(retrieval.store, prepared, [point_id("shop", "1-Red-S")])
        found = await retrieval.nearest(prepared, query_number(1), Wanted(500), plan=Plan.EXACT)
        assert await retrieval.total(prepared) == len(SHOP)
        return len(found)

    assert run(url, ask, release=WITHOUT_VARIANTS) == len(SHOP)


def test_a_result_counts_the_other_variants_that_match(url: str) -> None:
    def more(filters: list[tuple[str, str]]) -> Any:
        return run(
            url,
            lambda retrieval, one: count_more(retrieval.store, one.info, one.condition, ["P7", "P5", "0", "P7"]),
            filters=filters,
        )

    assert more([]) == {"P7": 11, "P5": 5}
    assert more([("size", "S")]) == {"P7": 3, "P5": 1}
    assert more([("size", "S"), ("colour", "Red")]) == {}


@pytest.mark.parametrize("release", [ONE_PICTURE, SEVERAL_PICTURES])
def test_a_product_is_not_similar_to_its_own_variants(url: str, release: str) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        point = point_id("shop", "7-Blue-M")
        prepared = await without_variants(retrieval.store, prepared, [point])
        prepared, query = await query_of_product(retrieval.store, prepared, point)
        return ids_of(await retrieval.nearest(prepared, query, Wanted(500), plan=Plan.EXACT))

    found = run(url, ask, release=release)
    assert sorted(GROUPS[one] for one in found) == sorted(set(GROUPS.values()) - {"P7"})


@pytest.mark.parametrize("release", [ONE_PICTURE, SEVERAL_PICTURES])
def test_examples_leave_out_their_variants(url: str, release: str) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        liked: list[str | list[float]] = [point_id("shop", "7-Blue-M"), query_number(2)]
        disliked: list[str | list[float]] = [point_id("shop", "5-Red-S")]
        prepared = await without_variants(retrieval.store, prepared, [*liked, *disliked])
        prepared, query = await query_of_examples(retrieval.store, prepared, liked, disliked)
        return ids_of(await retrieval.nearest(prepared, query, Wanted(500), plan=Plan.EXACT))

    found = run(url, ask, release=release)
    assert sorted(GROUPS[one] for one in found) == sorted(set(GROUPS.values()) - {"P7", "P5"})


@pytest.mark.parametrize("release", [ONE_PICTURE, SEVERAL_PICTURES])
def test_refined_searches_have_each_product_once(url: str, release: str) -> None:
    query = query_number(3)
    plain = search(url, query, release=release)
    assert len(plain) == 40
    for refine in (Refinement(rerank=15), Refinement(expand=5, alpha=1.0), Refinement(expand=3, rerank=10)):
        found = search(url, query, release=release, refine=refine)
        assert sorted(GROUPS[one] for one in found) == sorted(set(GROUPS.values()))
    again = search(url, query, release=release, refine=Refinement(rerank=15))
    assert sorted(again[:15]) == sorted(plain[:15])
    assert again[15:] == plain[15:]
    pages = [search(url, query, release=release, refine=Refinement(rerank=15), top_k=7, offset=at) for at in (0, 7)]
    assert [*pages[0], *pages[1]] == again[:14]


@pytest.mark.parametrize("second", [SEVERAL_PICTURES, WITHOUT_VARIANTS])
def test_fused_searches_have_each_product_once(url: str, second: str) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> list[str]:
        serving = Serving("shop", "tiny", second, name_of(second))
        other = await retrieval.prepare(serving, [], one_of_each=True)
        vectors = (query_number(4), query_number(4))
        points = await fused_search(retrieval, (prepared, other), vectors, Wanted(200), plan=Plan.EXACT, weight=0.5)
        assert all(VARIANT_FIELD in (point.payload or {}) for point in points)
        return ids_of(points)

    found = run(url, ask)
    assert sorted(GROUPS[one] for one in found) == sorted(set(GROUPS.values()))


def test_facets_count_products_and_agree_with_what_a_filter_finds(url: str) -> None:
    query = query_number(5)

    async def ask(retrieval: Retrieval, prepared: Prepared) -> dict[str, Any]:
        return await count_facets(retrieval, prepared, query, ["colour", "size", "price"], min_score=None, count=1_000)

    counted = run(url, ask)
    for field in ("colour", "size"):
        assert counted["facets"][field]
        for one in counted["facets"][field]:
            assert one["count"] == len(search(url, query, filters=[(field, one["value"])])), (field, one)
    assert sum(one["count"] for one in counted["facets"]["price"]) == len(set(GROUPS.values()))
    assert counted["withoutValue"] == {"size": 10}
    every = run(url, ask, one_of_each=False)
    assert {one["value"]: one["count"] for one in every["facets"]["size"]} == dict.fromkeys(SIZES, 90)


def test_facets_count_the_best_products_with_all_their_variants(url: str) -> None:
    query = query_number(6)

    async def ask(retrieval: Retrieval, prepared: Prepared) -> dict[str, Any]:
        return await count_facets(retrieval, prepared, query, ["price"], min_score=None, count=30)

    # Only as many variants are read as four for each product, so it may be fewer products.
    assert 10 <= sum(one["count"] for one in run(url, ask)["facets"]["price"]) <= 30


def test_hints_count_products(url: str) -> None:
    async def ask(retrieval: Retrieval, prepared: Prepared) -> dict[str, Any]:
        spec = parse_filters([("colour", "Rde"), ("size", "S")], prepared.info.filters)
        return await why_nothing(retrieval, replace(prepared, spec=spec))

    found = run(url, ask)
    assert found["relax"][0] == {"filter": "colour", "values": ["Rde"], "products": 30}
    assert "did you mean Red" in found["hints"][0]


def test_a_minimum_score_holds_for_the_variant_that_is_shown(url: str) -> None:
    query = query_number(7)
    whole = search(url, query)
    assert search(url, query, min_score=0.2) == whole[: len(search(url, query, min_score=0.2))]
    assert run(url, lambda retrieval, one: retrieval.total(one.with_spec(FilterSpec()))) == 40
