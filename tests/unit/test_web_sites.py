"""Cross-site requests are refused in a browser, and programs are not affected."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from vitrine.web import SiteGuard, hosts_checked

OWN: Final = "http://127.0.0.1:8000"
LOOPBACK_ONLY: Final[frozenset[str]] = frozenset()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("fine")(scope, receive, send)


def asked(
    method: str,
    headers: dict[str, str] | list[tuple[str, str]],
    *,
    hosts: frozenset[str] | None = LOOPBACK_ONLY,
    origins: tuple[str, ...] = (),
) -> int:
    async def call() -> int:
        guard = SiteGuard(answer, hosts=hosts, origins=origins)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=OWN) as client:
            return (await client.request(method, "/", headers=headers)).status_code

    return asyncio.run(call())


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "127.9.9.9", "[::1]:8000", "localhost."]
)
def test_loopback_names_are_accepted(host: str) -> None:
    assert asked("GET", {"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "shop.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:80@localhost:8000",
        "localhost@evil.example",
        "localhost,evil.example",
        "192.168.1.4:8000",
        "0.0.0.0:8000",
        "[::1",
        ":8000",
        "",
    ],
)
def test_every_other_host_is_refused_for_every_path(host: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
        assert asked(method, {"host": host}) == 421


def test_two_host_headers_are_refused() -> None:
    assert asked("GET", [("host", "localhost"), ("host", "evil.example")]) == 421


def test_a_setting_adds_names() -> None:
    named = hosts_checked("127.0.0.1", ["Shop.example."])
    assert asked("GET", {"host": "shop.EXAMPLE:8443"}, hosts=named) == 200
    assert asked("GET", {"host": "localhost"}, hosts=named) == 200
    assert asked("GET", {"host": "evil.shop.example"}, hosts=named) == 421


def test_on_a_network_address_hosts_are_checked_if_the_setting_names_some() -> None:
    assert hosts_checked("0.0.0.0", []) is None
    assert asked("GET", {"host": "anything.example"}, hosts=None) == 200
    assert hosts_checked("0.0.0.0", ["shop.example"]) == frozenset({"shop.example"})
    assert hosts_checked("::1", []) == hosts_checked("localhost", []) == LOOPBACK_ONLY


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-site", "origin": OWN},
        {"sec-fetch-site": "new-word"},
        {"sec-fetch-site": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "http://localhost:8000"},
        {"origin": "http://127.0.0.1:8000@evil.example"},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://[::1"},
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    ],
)
def test_another_site_can_neither_change_data_nor_start_expensive_calls(method: str, headers: dict[str, str]) -> None:
    assert asked(method, headers) == 403
    assert asked("GET", headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "origin": OWN},
        {"sec-fetch-site": "none"},
        {"origin": OWN},
        # Behind a proxy that terminates TLS and keeps the Host, the browser's origin has another scheme.
        {"origin": "https://localhost", "host": "localhost:443"},
    ],
)
def test_programs_and_same_origin_pages_are_not_affected(headers: dict[str, str]) -> None:
    assert asked("POST", headers) == 200


def test_a_setting_allows_a_site() -> None:
    allowed = ("https://shop.example", "not an origin")
    for headers in ({"origin": "https://shop.example"}, {"origin": "https://SHOP.example:443"}):
        assert asked("POST", {**headers, "sec-fetch-site": "cross-site"}, origins=allowed) == 200
    for origin in ("http://shop.example", "https://shop.example:444", "https://a.shop.example", "null"):
        assert asked("POST", {"origin": origin}, origins=allowed) == 403
