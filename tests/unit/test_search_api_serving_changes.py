"""A search process drops its cached aliases and fields when a change is announced, and looks again before it reports
something as unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis
from qdrant_client import QdrantClient

from harness.processes import LocalQdrant, Redis
from harness.waiting import HUNG_AFTER_S
from search_api.context import Context, build_context
from search_api.search.options import Target
from search_api.settings import Settings
from vitrine.errors import FilterInvalid
from vitrine.products import AttributeKind as K
from vitrine.qdrant.aliases import announce_change, switch_alias
from vitrine.qdrant.client import create_collection
from vitrine.qdrant.filters import FieldFilter
from vitrine.qdrant.naming import Serving, collection_name
from vitrine.qdrant.schema import CollectionMetadata

RELEASE = "net-0123456789"
METADATA = CollectionMetadata("shop", "net", RELEASE, "folder", "/shop", "ready")


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQdrant]:
    server = LocalQdrant(tmp_path_factory.mktemp("changes") / "qdrant")
    try:
        yield server
    finally:
        server.kill()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(HUNG_AFTER_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)  # a poll with a deadline


def serve(client: QdrantClient, generation: int, kinds: dict[str, K], metadata: CollectionMetadata = METADATA) -> str:
    """Create a generation and switch the alias to it."""
    name = collection_name(metadata.dataset, metadata.release_id, generation)
    create_collection(client, metadata, dim=4, kinds=kinds, collection=name)
    switch_alias(client, Serving(metadata.dataset, metadata.model, metadata.release_id, name))
    return name


def test_an_announced_switch_applies_at_once_and_an_unknown_filter_is_looked_up_again(
    server: Redis, client: redis.Redis, qdrant: LocalQdrant, tmp_path: Path
) -> None:
    # These processes can see a change only by an announcement, or by looking again before a refusal.
    settings = Settings(
        redis_url=server.url, qdrant_url=qdrant.url, uploads_dir=tmp_path, alias_ttl_s=600, collection_ttl_s=600
    )
    writer = QdrantClient(url=qdrant.url, check_compatibility=False)

    async def resolved(context: Context) -> str:
        return (await context.store.resolve("shop", "net")).collection

    async def switched(context: Context, collection: str) -> bool:
        return await resolved(context) == collection

    async def scenario() -> None:
        context = build_context(settings)
        try:
            context.redis_feed.start()
            await asyncio.wait_for(context.redis_feed.connected.wait(), HUNG_AFTER_S)
            first = await asyncio.to_thread(serve, writer, 1, {"size": K.INTEGER})
            assert await resolved(context) == first
            second = await asyncio.to_thread(serve, writer, 2, {"size": K.DECIMAL})
            assert await resolved(context) == first, "kept until the change is announced"
            announce_change(client, "shop")
            await until(lambda: switched(context, second))

            third = await asyncio.to_thread(serve, writer, 3, {"size": K.KEYWORD, "fabric": K.KEYWORD})
            seen: list[str] = []

            async def search(serving: Serving) -> None:
                seen.append(serving.collection)
                await context.retrieval.prepare(serving, [("fabric", "wool")])

            await context.retrieval.in_serving(Target(dataset="shop", model="net"), search)
            assert seen == [second, third], "nobody announced it"

            async def refused(serving: Serving) -> None:
                await context.retrieval.prepare(serving, [("colour", "red")])

            with pytest.raises(FilterInvalid, match="unknown filter 'colour'"):
                await context.retrieval.in_serving(Target(dataset="shop", model="net"), refused)
        finally:
            await context.close()

    try:
        asyncio.run(scenario())
    finally:
        writer.close()


def test_the_second_model_of_a_search_parses_the_filters_with_its_own_fields(
    server: Redis, qdrant: LocalQdrant, tmp_path: Path
) -> None:
    settings = Settings(redis_url=server.url, qdrant_url=qdrant.url, uploads_dir=tmp_path)
    writer = QdrantClient(url=qdrant.url, check_compatibility=False)
    models: dict[str, dict[str, K]] = {
        "early": {"size": K.INTEGER},
        "late": {"size": K.KEYWORD},
    }

    async def scenario() -> list[FieldFilter]:
        context = build_context(settings)
        try:
            for model, fields in models.items():
                metadata = CollectionMetadata("two", model, f"{model}-0123456789", "folder", "/shop", "ready")
                await asyncio.to_thread(serve, writer, 1, fields, metadata)
            filters = [("size", "37")]
            prepared = await context.retrieval.prepare(await context.store.resolve("two", "early"), filters)
            other = await context.retrieval.prepare_other(prepared, "late", filters)
            return [prepared.spec.fields["size"], other.spec.fields["size"]]
        finally:
            await context.close()

    try:
        assert asyncio.run(scenario()) == [FieldFilter(any_of=(37,)), FieldFilter(any_of=("37",))]
    finally:
        writer.close()
