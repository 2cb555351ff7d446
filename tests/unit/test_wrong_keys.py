"""The limit on wrong keys per address, and which address a request counts for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Scope

from vitrine.errors import SettingsInvalid
from vitrine.settings import HttpSettings, load_settings
from vitrine.web import (
    ApiKeys,
    KeyRing,
    TokenBuckets,
    address_of,
    build_server,
    declared_routes,
    open_to_all,
    parse_api_keys,
    requires,
)

SECRET: Final = "a-long-random-key"
OTHER: Final = "another-long-random-key"
KEYS: Final = parse_api_keys(
    ",".join(f"{name}:search:{hashlib.sha256(name.encode()).hexdigest()}" for name in (SECRET, OTHER))
)


def guarded(now_s: list[float]) -> ApiKeys:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/search")
    @requires("search")
    async def search() -> str:
        return "found"

    @app.get("/livez")
    @open_to_all
    async def livez() -> str:
        return "alive"

    return ApiKeys(
        app, ring=KeyRing(KEYS, wrong_keys_per_minute=3, clock=lambda: now_s[0]), routes=declared_routes(app)
    )


Ask = Callable[..., Coroutine[Any, Any, httpx.Response]]


def asking(app: ASGIApp) -> Ask:
    async def ask(key: str | None, *, address: str = "10.0.0.1", path: str = "/search") -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers={"x-api-key": key} if key else {})

    return ask


def test_an_address_with_too_many_wrong_keys_waits_and_others_do_not() -> None:
    now_s = [0.0]

    async def check() -> None:
        ask = asking(guarded(now_s))
        assert [(await ask(f"guess {n}")).status_code for n in range(5)] == [403, 403, 403, 429, 429]
        refused = await ask("guess")
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("too_many_requests", "20")
        # Even the right key is refused. Other addresses, calls without a key and public routes are not affected.
        assert (await ask(SECRET)).status_code == 429
        assert (await ask(SECRET, address="10.0.0.2")).status_code == 200
        assert (await ask(None)).status_code == 401
        assert (await ask("guess", path="/livez")).status_code == 200
        now_s[0] = 21.0
        assert (await ask(SECRET)).status_code == 200

    asyncio.run(check())


def test_an_accepted_key_is_not_blocked_by_wrong_keys_from_the_same_address() -> None:
    async def check() -> None:
        ask = asking(guarded([0.0]))
        assert (await ask(SECRET)).status_code == 200
        assert [(await ask(f"guess {n}")).status_code for n in range(4)] == [403, 403, 403, 429]
        assert (await ask(SECRET)).status_code == 200
        assert (await ask(OTHER)).status_code == 429

    asyncio.run(check())


def test_right_and_missing_keys_do_not_count_as_wrong_keys() -> None:
    async def check() -> None:
        ask = asking(guarded([0.0]))
        for key, status in ((SECRET, 200), (None, 401)):
            assert {(await ask(key)).status_code for _ in range(10)} == {status}
        assert (await ask("guess")).status_code == 403

    asyncio.run(check())


def test_many_addresses_use_bounded_memory() -> None:
    buckets = TokenBuckets(per_s=1.0, burst=1, clock=lambda: 0.0)
    for number in range(20_000):
        buckets.take(str(number))
    assert buckets.wait_s("0") == 0  # forgotten
    assert buckets.wait_s("19999") > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("no address", "x" * 5000, True),
    ],
)
def test_callers_are_distinguished_by_the_address_range_one_caller_can_have(one: str, other: str, same: bool) -> None:
    def scope(host: str) -> Scope:
        return {"type": "http", "client": (host, 1)}

    assert (address_of(scope(one)) == address_of(scope(other))) is same


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "seen"),
    [
        ((), "127.0.0.1", "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "127.0.0.1", "203.0.113.9", "127.0.0.1"),
        (("10.0.0.0/8",), "10.1.2.3", "203.0.113.9", "203.0.113.9"),
        # The entries that the caller wrote come first in the list and are not trusted.
        (("10.0.0.0/8",), "10.1.2.3", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (("10.0.0.0/8",), "10.1.2.3", "198.51.100.1, 203.0.113.9, 10.9.9.9", "203.0.113.9"),
        (("10.0.0.0/8",), "10.1.2.3", "<script>", "unknown"),
    ],
)
def test_a_forwarded_address_is_trusted_only_from_configured_proxies(
    trusted: tuple[str, ...], peer: str, forwarded: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's variable has no effect
    app = FastAPI()

    @app.get("/")
    async def who(request: Request) -> str:
        return address_of(request.scope)

    settings = HttpSettings(trusted_proxies=trusted)
    server = build_server(app, host="127.0.0.1", port=0, settings=settings, on_drain=lambda: None)
    server.config.load()

    async def ask() -> str:
        transport = httpx.ASGITransport(server.config.loaded_app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer: str = (await client.get("/", headers={"x-forwarded-for": forwarded})).json()
            return answer

    assert asyncio.run(ask()) == seen


def test_a_proxy_setting_that_is_not_an_address_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_TRUSTED_PROXIES", "10.0.0.7/8, ::1")
    assert load_settings(HttpSettings).trusted_proxies == ("10.0.0.0/8", "::1/128")
    for value in ("*", "proxy.example", "10.0.0.0/40"):
        monkeypatch.setenv("VITRINE_TRUSTED_PROXIES", value)
        with pytest.raises(SettingsInvalid, match="trusted_proxies"):
            load_settings(HttpSettings)
