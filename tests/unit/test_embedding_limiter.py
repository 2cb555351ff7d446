"""The fair limiter of calls to an embedder: callers that wait, are refused, or disconnect."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from vitrine.embedding.connection import FairLimiter
from vitrine.errors import EmbedderOverloaded


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_callers_take_turns_and_a_disconnected_one_is_skipped() -> None:
    async def scenario() -> None:
        limiter, order, go = FairLimiter(1, clock=lambda: 0.0), [], asyncio.Event()

        async def call(name: str) -> None:
            async with limiter.slot(name):
                order.append(name)
                await go.wait()

        calls = [asyncio.create_task(call(name)) for name in ["greedy"] * 5 + ["modest", "gone"]]
        await settle()
        assert order == ["greedy"]
        calls[-1].cancel()
        await settle()
        go.set()
        await asyncio.gather(*calls[:-1])
        assert order == ["greedy", "greedy", "modest", "greedy", "greedy", "greedy"]
        async with asyncio.timeout(10), limiter.slot("late"):
            pass

    asyncio.run(scenario())


def test_a_call_that_would_wait_too_long_is_refused_and_one_of_another_caller_waits() -> None:
    async def scenario() -> None:
        limiter, go = FairLimiter(1, max_delay_s=0.165), asyncio.Event()

        async def call(name: str) -> None:
            async with limiter.slot(name):
                await go.wait()

        calls = [asyncio.create_task(call("greedy")) for _ in range(6)]
        await settle()
        with pytest.raises(EmbedderOverloaded) as refusal:
            await call("greedy")
        assert refusal.value.retry_after_s is not None
        modest = asyncio.create_task(call("modest"))
        await settle()
        assert not modest.done(), "it waits for its turn"
        go.set()
        await asyncio.gather(modest, *calls)

    asyncio.run(scenario())


def test_a_slow_rate_leads_to_earlier_refusals() -> None:
    async def scenario() -> None:
        now_s = [0.0]
        limiter = FairLimiter(1, clock=lambda: now_s[0])

        async def call() -> None:
            async with limiter.slot("shop"):
                now_s[0] += 1.0
                await settle()

        await asyncio.gather(*(call() for _ in range(50)))
        calls = [asyncio.create_task(call()) for _ in range(10)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(one, EmbedderOverloaded) for one in found) >= 8

    asyncio.run(scenario())


def test_a_rate_that_was_slow_once_is_measured_again() -> None:
    async def scenario() -> None:
        now_s = [0.0]
        limiter = FairLimiter(1, clock=lambda: now_s[0])

        async def call(took_s: float) -> None:
            async with limiter.slot("shop"):
                now_s[0] += took_s
                await settle()

        async def client() -> None:
            for _ in range(80):
                with contextlib.suppress(EmbedderOverloaded):
                    await call(0.01)
                await asyncio.sleep(0)

        slow = [await asyncio.gather(*(call(5.0) for _ in range(10)), return_exceptions=True) for _ in range(3)]
        assert any(isinstance(one, EmbedderOverloaded) for one in slow[-1]), "the pace is slow"
        await asyncio.gather(client(), client(), client())
        await asyncio.gather(*(call(0.01) for _ in range(10)))

    asyncio.run(scenario())
