"""Query pictures in a real Redis: bounded, the oldest removed first, and removed when they expire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from harness.pictures import encoded, gradient
from harness.processes import Redis
from harness.waiting import wait_until
from search_api.search.uploads import Uploads
from vitrine.errors import ImageRejected, UploadNotFound
from vitrine.jobs import open_async_redis, open_redis

PICTURE = encoded(gradient(64, 48), "PNG")
Scenario = Callable[[Uploads], Awaitable[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("uploads"))
    yield redis
    redis.stop()


def run(server: Redis, scenario: Scenario, *, ttl_s: float = 600, most: int = 100, most_bytes: int = 1_000_000) -> None:
    async def whole() -> None:
        connection = open_async_redis(server.url)
        await connection.flushall()
        try:
            await scenario(Uploads(connection, ttl_s=ttl_s, max_uploads=most, max_total_bytes=most_bytes))
        finally:
            await connection.aclose()

    asyncio.run(whole())


async def there(uploads: Uploads, upload_id: str) -> bool:
    try:
        await uploads.get(upload_id)
    except UploadNotFound:
        return False
    return True


def test_a_picture_is_read_back_unchanged_with_its_size(server: Redis) -> None:
    async def scenario(uploads: Uploads) -> None:
        kept = await uploads.keep(PICTURE)
        assert await uploads.get(kept.id) == PICTURE
        assert (kept.media_type, kept.width_px, kept.height_px) == ("image/png", 64, 48)
        assert kept.id != (await uploads.keep(PICTURE)).id

    run(server, scenario)


def test_the_oldest_is_removed_if_there_are_too_many(server: Redis) -> None:
    async def scenario(uploads: Uploads) -> None:
        ids = [(await uploads.keep(PICTURE)).id for _ in range(5)]
        assert [await there(uploads, one) for one in ids] == [False, False, True, True, True]

    run(server, scenario, most=3)


def test_the_oldest_is_removed_if_there_are_too_many_bytes_and_the_largest_still_fits(server: Redis) -> None:
    large = encoded(gradient(600, 600), "PNG") + bytes(4 * len(PICTURE))

    async def scenario(uploads: Uploads) -> None:
        ids = [(await uploads.keep(PICTURE)).id for _ in range(3)]
        assert [await there(uploads, one) for one in ids] == [False, True, True]
        last = await uploads.keep(large)
        assert await uploads.get(last.id) == large
        assert not any([await there(uploads, one) for one in ids])

    run(server, scenario, most_bytes=2 * len(PICTURE))


def test_an_upload_expires_and_leaves_nothing(server: Redis) -> None:
    async def scenario(uploads: Uploads) -> None:
        kept = await uploads.keep(PICTURE)
        assert kept.id

    run(server, scenario, ttl_s=1)
    with open_redis(server.url) as client:
        wait_until(lambda: client.dbsize() == 0, what="the end of every key")


@pytest.mark.parametrize("data", [b"", b"no picture", PICTURE[:20]], ids=["empty", "text", "cut"])
def test_a_file_that_is_not_a_picture_is_not_stored(server: Redis, data: bytes) -> None:
    async def scenario(uploads: Uploads) -> None:
        with pytest.raises(ImageRejected):
            await uploads.keep(data)

    run(server, scenario)
