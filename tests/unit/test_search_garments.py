"""Searches by garments: which release parses, the filters of a kind in a real collection, and what is nothing alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from qdrant_client import models

from harness.parsers import publish_unread_parser
from harness.processes import LocalQdrant
from harness.releases import build_tiny_release, store_of
from search_api.answers import Confidence
from search_api.search.garments import LEAST_LIKELY, filters_of_kind, is_nothing_like, of_kind
from search_api.search.parsers import Parsers
from search_api.search.retrieval import Retrieval
from search_api.vector_store import VectorStore
from vitrine.errors import ParserNotFound
from vitrine.evaluation.calibration import Curve
from vitrine.products import AttributeKind, AttributeValue, Product
from vitrine.qdrant.client import create_collection, open_async_qdrant, open_qdrant
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.schema import CollectionMetadata

WITH_KINDS: Final = "tiny-0000000001"
WITHOUT_KINDS: Final = "tiny-0000000002"
OF_NUMBERS: Final = "tiny-0000000003"
VALUES: Final[dict[str, tuple[AttributeValue, ...]]] = {
    WITH_KINDS: ("Topwear", "Topwear", "Shoes", "Flip Flops", "Saree"),
    OF_NUMBERS: (1, 2),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three collections: with `subCategory`, without it, and with numbers under this name."""
    server = LocalQdrant(tmp_path_factory.mktemp("qdrant"))
    client = open_qdrant(server.url)
    for release in (WITH_KINDS, WITHOUT_KINDS, OF_NUMBERS):
        kind = AttributeKind.INTEGER if release == OF_NUMBERS else AttributeKind.KEYWORD
        name = "subCategory" if release in VALUES else "sort"
        metadata = CollectionMetadata("shop", "tiny", release, catalog="folder", root="/shop", state="building")
        create_collection(client, metadata, dim=2, kinds={name: kind})
        points = []
        for number, value in enumerate(VALUES.get(release, ("Topwear",))):
            product = Product("shop", f"{number}", "face.jpg", {name: value})
            points.append(models.PointStruct(id=product.point_id, vector=[1.0, 0.0], payload=product.payload()))
        client.upsert(f"shop--{release}", points, wait=True)
    client.close()
    yield server.url
    server.kill()


def filters(
    url: str, kind: str, *, release: str = WITH_KINDS, given: tuple[tuple[str, str], ...] = ()
) -> tuple[dict[str, list[str]], int]:
    """(the filters of a kind, how many products match them and the given ones)."""

    async def asked() -> tuple[dict[str, list[str]], int]:
        store = VectorStore(open_async_qdrant(url), alias_ttl_s=1, collection_ttl_s=5, match_count_ttl_s=1)
        retrieval = Retrieval(store, planner=Planner())
        try:
            prepared = await retrieval.prepare(Serving("shop", "tiny", release, f"shop--{release}"), list(given))
            found = await filters_of_kind(retrieval, prepared, kind)
            return found, await retrieval.matches(of_kind(prepared, found))
        finally:
            await store.close()

    return asyncio.run(asked())


def test_a_kind_is_filtered_by_the_values_that_the_collection_has(url: str) -> None:
    assert filters(url, "upper") == ({"subCategory": ["Topwear"]}, 2)
    assert filters(url, "shoes") == ({"subCategory": ["Shoes", "Flip Flops"]}, 2)


def test_a_kind_without_a_product_or_without_the_attribute_is_not_filtered(url: str) -> None:
    assert filters(url, "bag") == ({}, 5)
    assert filters(url, "upper", release=WITHOUT_KINDS) == ({}, 1)
    assert filters(url, "upper", release=OF_NUMBERS) == ({}, 2)
    assert filters(url, "something of a later version") == ({}, 5)


def test_a_filter_of_the_caller_by_the_same_attribute_replaces_it(url: str) -> None:
    assert filters(url, "upper", given=(("subCategory", "Saree"),)) == ({}, 1)
    assert filters(url, "upper", given=(("!subCategory", "Topwear"),)) == ({}, 3)
    assert filters(url, "shoes", given=(("product_id", "2"),)) == ({"subCategory": ["Shoes", "Flip Flops"]}, 1)


def newest(releases: Path, model: str) -> str:
    return asyncio.run(Parsers(store_of(releases), model=model).newest())


def test_without_a_parser_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ParserNotFound, match=r"vitrine train recipes/parser\.toml"):
        newest(tmp_path / "releases", "vitrine-parser")


def test_the_newest_release_of_the_configured_model_parses(tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    publish_unread_parser(releases, "another")
    first = publish_unread_parser(releases, "vitrine-parser", weights=b"a")
    assert newest(releases, "vitrine-parser") == first
    second = publish_unread_parser(releases, "vitrine-parser", weights=b"b")
    assert newest(releases, "vitrine-parser") == second


def test_a_model_that_embeds_pictures_is_no_parser(tmp_path: Path) -> None:
    release = build_tiny_release(tmp_path / "releases")
    with pytest.raises(ParserNotFound, match="VITRINE_PARSER_MODEL"):
        newest(tmp_path / "releases", release.rpartition("-")[0])


def point(score: float) -> models.ScoredPoint:
    return models.ScoredPoint(id=1, version=0, score=score)


def test_nothing_is_like_a_garment_without_results_or_with_an_unlikely_best_match() -> None:
    known = Confidence(Curve.of((0.0, 1.0), (0.0, 1.0)))
    assert is_nothing_like([], known)
    assert is_nothing_like([point(LEAST_LIKELY - 0.01), point(0.0)], known)
    assert not is_nothing_like([point(LEAST_LIKELY + 0.01), point(0.0)], known)
    assert is_nothing_like([point(0.9)], known.asked(False)), "the query is out of distribution"


def test_without_a_calibration_only_a_garment_without_results_is_like_nothing() -> None:
    assert not is_nothing_like([point(-0.5)], Confidence())
    assert is_nothing_like([], Confidence())
