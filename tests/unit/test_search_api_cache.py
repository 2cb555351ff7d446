"""The cache of counts and descriptions."""

from __future__ import annotations

import asyncio

import pytest

from search_api.cache import ExpiringCache


class Loads:
    """Counts its loads."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.gate.wait()
        return number


def test_a_value_is_kept_until_it_expires() -> None:
    async def scenario() -> list[int]:
        now_s = [0.0]
        cache: ExpiringCache[str, int] = ExpiringCache(ttl_s=10, max_entries=5, clock=lambda: now_s[0])
        load = Loads()
        seen = [await cache.get("a", load)]
        now_s[0] = 9.9
        seen.append(await cache.get("a", load))
        now_s[0] = 10.0
        seen.append(await cache.get("a", load))
        return seen

    assert asyncio.run(scenario()) == [1, 1, 2]


def test_concurrent_requests_cause_one_load() -> None:
    async def scenario() -> tuple[list[int], int]:
        cache: ExpiringCache[str, int] = ExpiringCache(ttl_s=10, max_entries=5)
        load = Loads()
        load.gate.clear()
        asking = [asyncio.create_task(cache.get("a", load)) for _ in range(10)]
        await asyncio.sleep(0)
        load.gate.set()
        return await asyncio.gather(*asking), load.count

    assert asyncio.run(scenario()) == ([1] * 10, 1)


def test_a_cancelled_request_does_not_cancel_the_load_of_the_others() -> None:
    async def scenario() -> int:
        cache: ExpiringCache[str, int] = ExpiringCache(ttl_s=10, max_entries=5)
        load = Loads()
        load.gate.clear()
        impatient = asyncio.create_task(cache.get("a", load))
        patient = asyncio.create_task(cache.get("a", load))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        load.gate.set()
        return await patient

    assert asyncio.run(scenario()) == 1


def test_an_error_is_raised_and_not_cached() -> None:
    async def scenario() -> int:
        cache: ExpiringCache[str, int] = ExpiringCache(ttl_s=10, max_entries=5)

        async def fail() -> int:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await cache.get("a", fail)
        return await cache.get("a", Loads())

    assert asyncio.run(scenario()) == 1


def test_the_oldest_values_are_removed_first() -> None:
    async def scenario() -> tuple[int, int]:
        cache: ExpiringCache[int, int] = ExpiringCache(ttl_s=10, max_entries=3)
        load = Loads()
        for key in range(5):
            await cache.get(key, load)
        return len(cache), await cache.get(0, load)

    assert asyncio.run(scenario()) == (3, 6)


def test_a_dropped_value_is_loaded_again() -> None:
    async def scenario() -> int:
        cache: ExpiringCache[str, int] = ExpiringCache(ttl_s=10, max_entries=3)
        load = Loads()
        await cache.get("a", load)
        cache.drop("a")
        return await cache.get("a", load)

    assert asyncio.run(scenario()) == 2


def test_a_value_that_was_loading_during_a_clear_is_not_kept() -> None:
    async def scenario() -> list[int]:
        cache: ExpiringCache[str, int] = ExpiringCache(ttl_s=10, max_entries=5)
        load = Loads()
        load.gate.clear()
        waiting = asyncio.create_task(cache.get("a", load))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cache.clear()
        load.gate.set()
        return [await waiting, await cache.get("a", load), await cache.get("a", load)]

    assert asyncio.run(scenario()) == [1, 2, 2]
