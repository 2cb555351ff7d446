"""Access control, quotas and concurrency limits."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.waiting import HUNG_AFTER_S
from search_api.auth import RateLimit
from search_api.settings import Settings, check_exposure
from vitrine.errors import SettingsInvalid
from vitrine.web import Admission, Bodies, DeclaredRoutes, declared_routes, health_router


def health_routes() -> DeclaredRoutes:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(health_router(registry=CollectorRegistry(), readiness=lambda: (True, {})))
    return declared_routes(app)


KEY = f"shop:search:{'a' * 64}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "example.org", "127.0.0.1.example.org"])
def test_without_a_key_only_a_loopback_address_is_accepted(host: str) -> None:
    with pytest.raises(SettingsInvalid, match="VITRINE_API_KEYS"):
        check_exposure(Settings(api_host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_exposure(Settings(api_host=host))


def test_with_a_key_any_address_is_accepted() -> None:
    check_exposure(Settings(api_host="0.0.0.0", api_keys=SecretStr(KEY)))


def test_the_settings_do_not_show_the_keys() -> None:
    assert "a" * 64 not in repr(Settings(api_keys=SecretStr(KEY)))


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("fine")(scope, receive, send)


async def call(app: ASGIApp, path: str = "/api/models") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        return await client.get(path)


def test_a_caller_over_the_quota_gets_a_retry_after() -> None:
    now_s = [0.0]
    app = RateLimit(answer, routes=health_routes(), per_s=2.0, burst=2, clock=lambda: now_s[0])
    assert [asyncio.run(call(app)).status_code for _ in range(3)] == [200, 200, 429]
    refused = asyncio.run(call(app))
    assert refused.json()["code"] == "too_many_requests"
    assert refused.headers["retry-after"] == "1"
    now_s[0] = 0.5
    assert [asyncio.run(call(app)).status_code for _ in range(2)] == [200, 429]


def test_health_checks_have_no_quota() -> None:
    app = RateLimit(answer, routes=health_routes(), per_s=1.0, burst=1, clock=lambda: 0.0)
    assert [asyncio.run(call(app, "/livez")).status_code for _ in range(3)] == [200, 200, 200]


def test_a_request_above_the_limit_gets_a_retry_after() -> None:
    async def scenario() -> tuple[int, str, int]:
        arrived, leave = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            arrived.set()
            await leave.wait()
            await answer(scope, receive, send)

        app = Admission(
            slow, max_concurrent=1, timeout_of=lambda _scope: HUNG_AFTER_S, bodies=Bodies(max_held_bytes=1_000)
        )
        first = asyncio.create_task(call(app))
        await arrived.wait()
        second = await call(app)
        leave.set()
        return second.status_code, second.headers["retry-after"], (await first).status_code

    assert asyncio.run(scenario()) == (503, "1", 200)


def test_a_request_that_takes_too_long_is_cancelled() -> None:
    cancelled = []

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    app = Admission(stuck, max_concurrent=1, timeout_of=lambda _scope: 0.01, bodies=Bodies(max_held_bytes=1_000))
    late = asyncio.run(call(app))
    assert (late.status_code, late.json()["code"], cancelled) == (504, "deadline_expired", [True])


def test_a_cancelled_request_frees_its_place() -> None:
    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/stuck":
            await asyncio.Event().wait()
        await answer(scope, receive, send)

    app = Admission(
        stuck,
        max_concurrent=1,
        timeout_of=lambda scope: 0.01 if scope["path"] == "/stuck" else HUNG_AFTER_S,
        bodies=Bodies(max_held_bytes=1_000),
    )
    assert [asyncio.run(call(app, path)).status_code for path in ("/stuck", "/fine")] == [504, 200]
