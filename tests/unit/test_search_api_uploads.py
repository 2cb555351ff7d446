"""Query pictures in a real Redis: bounded, the oldest removed first, and removed when they expire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from harness.pictures import encoded, gradient
from harness.processes import Redis
from harness.waiting import wait_until
from search_api.search.uploads import Anonymize, Uploads
from vitrine.errors import ImageRejected, ParserNotFound, UploadNotFound
from vitrine.jobs import open_async_redis, open_redis

PICTURE = encoded(gradient(64, 48), "PNG")
Scenario = Callable[[Uploads], Awaitable[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("uploads"))
    yield redis
    redis.stop()


async def as_it_is(picture: bytes, _caller: str) -> bytes:
    return picture


def run(
    server: Redis,
    scenario: Scenario,
    *,
    ttl_s: float = 600,
    most: int = 100,
    most_bytes: int = 1_000_000,
    anonymize: Anonymize = as_it_is,
) -> None:
    async def whole() -> None:
        connection = open_async_redis(server.url)
        await connection.flushall()
        try:
            await scenario(Uploads(connection, anonymize, ttl_s=ttl_s, max_uploads=most, max_total_bytes=most_bytes))
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


def test_only_the_anonymized_picture_is_stored(server: Redis) -> None:
    original, blurred = PICTURE, encoded(gradient(32, 24), "PNG")

    async def anonymize(picture: bytes, caller: str) -> bytes:
        assert (picture, caller) == (original, "somebody")
        return blurred

    async def scenario(uploads: Uploads) -> None:
        kept = await uploads.keep(original, caller="somebody")
        assert (kept.picture, kept.width_px, kept.height_px) == (blurred, 32, 24)
        stored = open_redis(server.url)
        values = [stored.get(key) for key in stored.scan_iter("vitrine:upload:*")]
        assert values == [blurred]

    run(server, scenario, anonymize=anonymize)


def test_a_picture_that_cannot_be_anonymized_is_not_stored(server: Redis) -> None:
    async def anonymize(_picture: bytes, _caller: str) -> bytes:
        raise ParserNotFound("there is no parser")

    async def scenario(uploads: Uploads) -> None:
        with pytest.raises(ParserNotFound):
            await uploads.keep(PICTURE)
        assert list(open_redis(server.url).scan_iter("vitrine:upload*")) == []

    run(server, scenario, anonymize=anonymize)


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
