"""What searches ask of the embedder: embeddings and garments of a stored picture are asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from harness.parsers import publish_unread_parser
from harness.releases import store_of
from search_api.search.options import SearchOptions
from search_api.search.parsers import Parsers
from search_api.search.query_embedding import Asked, QueryEmbedder
from vitrine.embedding import AsyncEmbedderClient, Embedding, FoundGarment, RegionsFound
from vitrine.images.regions import Region

Scenario = Callable[[QueryEmbedder, list[str]], Awaitable[None]]
UPLOAD = Asked("somebody", 0.0, upload="u1")
OTHER_UPLOAD = Asked("somebody", 0.0, upload="u2")
NO_UPLOAD = Asked("somebody", 0.0)


def garment(number: int, *, searchable: bool = True) -> FoundGarment:
    return FoundGarment(number, "dress", "Dress", 0.9, Region(0, 0, 1, 1), (), 0.5, searchable)


GARMENTS = (garment(1), garment(2), garment(3, searchable=False), garment(4))


class CountingEmbedder(AsyncEmbedderClient):
    """Answers without a service, and notes what it is asked. The vector of a garment is its number."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__("http://127.0.0.1:9")
        self._calls = calls

    async def embed(self, data: bytes, **options: Any) -> Embedding:
        self._calls.append("embed")
        return embedding(0)

    async def regions(self, picture: bytes, *, parser_id: str, **options: Any) -> RegionsFound:
        self._calls.append("regions")
        return RegionsFound(parser_id, 300, 400, GARMENTS, {})

    async def embed_garments(
        self, picture: bytes, *, parser_id: str, numbers: tuple[int, ...] | None = None, **options: Any
    ) -> tuple[RegionsFound, tuple[Embedding, ...]]:
        self._calls.append("garments")
        wanted = (1, 2, 4) if numbers is None else numbers
        return RegionsFound(parser_id, 300, 400, GARMENTS, {}), tuple(map(embedding, wanted))


def embedding(number: int) -> Embedding:
    vector = np.full(2, number, dtype=np.float32)
    return Embedding(vector, {}, None, vector[None])


def run(tmp_path: Any, scenario: Scenario) -> None:
    publish_unread_parser(tmp_path / "releases", "vitrine-parser")

    async def whole() -> None:
        calls: list[str] = []
        client = CountingEmbedder(calls)
        parsers = Parsers(store_of(tmp_path / "releases"), model="vitrine-parser")
        try:
            await scenario(QueryEmbedder(client, parsers, timeout_s=1e9), calls)
        finally:
            await client.aclose()

    asyncio.run(whole())


def numbers_of(embeddings: dict[int, Embedding]) -> dict[int, float]:
    return {number: float(one.vector[0]) for number, one in embeddings.items()}


PLAIN = SearchOptions()
FLIPPED = SearchOptions(flip=True)


def test_the_garments_of_a_stored_picture_are_found_once(tmp_path: Any) -> None:
    async def scenario(embedder: QueryEmbedder, calls: list[str]) -> None:
        for _ in range(3):
            assert (await embedder.regions(b"", UPLOAD)).garments == GARMENTS
        assert calls == ["regions"]
        await embedder.regions(b"", OTHER_UPLOAD)
        await embedder.regions(b"", NO_UPLOAD)
        await embedder.regions(b"", NO_UPLOAD)
        assert calls == ["regions"] * 4

    run(tmp_path, scenario)


def test_a_garment_of_a_stored_picture_is_embedded_once_for_each_release_and_view(tmp_path: Any) -> None:
    async def scenario(embedder: QueryEmbedder, calls: list[str]) -> None:
        for _ in range(2):
            seen = await embedder.garments(b"", "one", PLAIN, UPLOAD, number=2)
            assert numbers_of(seen.embeddings) == {2: 2.0}
            assert seen.garment(2) == GARMENTS[1]
        assert calls == ["garments"]
        assert (await embedder.regions(b"", UPLOAD)).garments == GARMENTS, "they came with the embedding"
        assert calls == ["garments"]
        await embedder.garments(b"", "other", PLAIN, UPLOAD, number=2)
        await embedder.garments(b"", "one", FLIPPED, UPLOAD, number=2)
        await embedder.garments(b"", "one", PLAIN, UPLOAD, number=1)
        assert calls == ["garments"] * 4

    run(tmp_path, scenario)


def test_the_garments_of_a_look_are_known_one_by_one_afterwards(tmp_path: Any) -> None:
    async def scenario(embedder: QueryEmbedder, calls: list[str]) -> None:
        for _ in range(2):
            look = await embedder.garments(b"", "one", PLAIN, UPLOAD)
            assert numbers_of(look.embeddings) == {1: 1.0, 2: 2.0, 4: 4.0}, "what is not searchable is left out"
        for number in (1, 2, 4):
            await embedder.garments(b"", "one", PLAIN, UPLOAD, number=number)
        assert calls == ["garments"]
        await embedder.garments(b"", "one", PLAIN, NO_UPLOAD)
        await embedder.garments(b"", "one", PLAIN, NO_UPLOAD)
        assert calls == ["garments"] * 3

    run(tmp_path, scenario)


def test_the_picture_itself_and_its_cut_out_are_kept_apart_from_its_garments(tmp_path: Any) -> None:
    async def scenario(embedder: QueryEmbedder, calls: list[str]) -> None:
        await embedder.garments(b"", "one", PLAIN, UPLOAD, number=1)
        for options in (PLAIN, SearchOptions(cutout=True), SearchOptions(region="0,0,0.5,0.5")):
            for _ in range(2):
                [seen] = await embedder.picture(b"", "one", options, UPLOAD)
                assert float(seen.vector[0]) == 0.0
        assert calls == ["garments", *["embed"] * 3]

    run(tmp_path, scenario)
