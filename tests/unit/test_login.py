"""Login to the pages with an API key, and the limits of a session."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from search_api.app import create_app
from search_api.pages.sessions import MAX_AGE_S, Sessions
from search_api.settings import Settings
from vitrine.web import ApiKey, is_same_origin, parse_api_keys

HOST: Final = "http://127.0.0.1:8000"
NAVIGATION: Final = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
FORM: Final = {**NAVIGATION, "Origin": HOST, "Content-Type": "application/x-www-form-urlencoded"}
KEYS: Final = ",".join(
    f"{name}:{scopes}:{hashlib.sha256(f'the key of {name}'.encode()).hexdigest()}"
    for name, scopes in (("shop", "search"), ("operator", "admin"), ("feed", "ingest"))
)


@functools.cache
def app_with(*, keys: str = KEYS, public: bool = False, prefix: str = "", wrong_keys_per_minute: int = 0) -> FastAPI:
    return create_app(
        Settings(
            api_keys=SecretStr(keys),
            public_pages=public,
            path_prefix=prefix,
            wrong_keys_per_minute=wrong_keys_per_minute,
            qdrant_url="http://127.0.0.1:9",
            redis_url="redis://127.0.0.1:9/0",
            embedder_url="http://127.0.0.1:9",
            releases_url="memory://login",
        )
    )


@dataclass
class Browser:
    """A browser: it keeps cookies, and sends the headers that browsers send."""

    app: ASGIApp = field(default_factory=app_with)
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)
    base: str = HOST

    def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        return self._sent(method, path, headers, None)

    def send(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        """Send a form, as from a page of the application unless `headers` say otherwise."""
        return self._sent("POST", path, {**FORM, **headers}, urlencode(fields))

    def _sent(self, method: str, path: str, headers: dict[str, str], content: str | None) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items() if value}

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.base, cookies=self.cookies) as client:
                answer = await client.request(method, path, headers=sent, content=content)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asked())

    def look(self, path: str, **headers: str) -> httpx.Response:
        return self.ask("GET", path, **{**NAVIGATION, **headers})

    def log_in(self, name: str, wanted: str = "", **headers: str) -> httpx.Response:
        fields = {"key": f" the key of {name}\n", "next": wanted}
        return self.send("/login", fields, **headers)


def test_a_page_leads_to_the_form_and_the_form_leads_back() -> None:
    browser = Browser()
    led = browser.look("/?model=a%20b&topK=5")
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=%2F%3Fmodel%3Da%2520b%26topK%3D5")
    form = browser.look(led.headers["location"])
    assert form.status_code == 200
    assert 'name="next" value="/?model=a%20b&amp;topK=5"' in form.text
    back = browser.log_in("shop", "/?model=a%20b&topK=5")
    assert (back.status_code, back.headers["location"]) == (303, "/?model=a%20b&topK=5")
    assert browser.look("/").status_code == 200


def test_the_cookie_is_kept_from_scripts_and_from_other_sites() -> None:
    cookie = Browser().log_in("shop").headers["set-cookie"]
    assert re.fullmatch(
        r"vitrine_session_[0-9a-f]{8}=[\w.-]+; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", cookie
    )
    assert "the key of shop" not in cookie


def test_over_tls_the_cookie_is_never_sent_without_it() -> None:
    assert (
        Browser(base="https://127.0.0.1:8000")
        .log_in("shop", Origin="https://127.0.0.1:8000")
        .headers["set-cookie"]
        .endswith("; Secure")
    )


@pytest.mark.parametrize(("proxies", "secure"), [(["127.0.0.1"], True), (["10.0.0.1"], False)])
def test_only_a_configured_proxy_can_report_that_the_client_uses_tls(proxies: list[str], *, secure: bool) -> None:
    behind = ProxyHeadersMiddleware(app_with(), trusted_hosts=proxies)  # type: ignore[arg-type]
    cookie = Browser(app=cast(ASGIApp, behind)).log_in("shop", X_Forwarded_Proto="https").headers["set-cookie"]
    assert cookie.endswith("; Secure") is secure


def test_behind_a_path_the_cookie_and_the_addresses_have_the_prefix() -> None:
    browser = Browser(app=app_with(prefix="/vitrine"))
    assert browser.look("/vitrine/").headers["location"] == "/vitrine/login?next=%2F"
    back = browser.send("/vitrine/login", {"key": "the key of shop", "next": "/?q=1"})
    assert back.headers["location"] == "/vitrine/?q=1"
    assert "; Path=/vitrine;" in back.headers["set-cookie"]
    assert browser.look("/vitrine/").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil", "/%0d%0aX: 1"],
)
def test_the_form_redirects_only_within_the_site(wanted: str) -> None:
    browser = Browser()
    location = browser.log_in("shop", wanted).headers["location"]
    assert location in ("/", "/%0d%0aX: 1", "/%0d%0aX:%201")
    assert "evil" not in browser.look(f"/login?{urlencode({'next': wanted})}").text


def test_a_wrong_key_in_the_form_is_reported_and_counted_like_one_in_a_call() -> None:
    browser = Browser(app=app_with(wrong_keys_per_minute=2))
    refused = browser.log_in("nobody", "/?q=1")
    assert refused.status_code == 403
    assert "The API key is not known." in refused.text
    assert 'name="next" value="/?q=1"' in refused.text
    assert browser.ask("GET", "/api/models", X_Api_Key="guessed").status_code == 403
    limited = browser.log_in("nobody")
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) > 0
    assert "too many wrong API keys" in limited.text.replace("Too", "too")
    assert browser.ask("GET", "/api/models", X_Api_Key="guessed").status_code == 429
    assert "set-cookie" not in limited.headers


def test_a_form_without_a_key_or_with_too_much_is_refused() -> None:
    assert "Type or paste an API key." in Browser().send("/login", {"key": " "}).text
    assert Browser().send("/login", {"key": "k" * 9_000}).status_code == 413


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:9"},
    ],
)
def test_another_site_can_log_nobody_in_or_out(path: str, headers: dict[str, str]) -> None:
    answer = Browser().send(path, {"key": "the key of shop"}, **headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_session_replaces_its_key_only_in_calls_of_the_page() -> None:
    browser = Browser()
    browser.log_in("shop")
    # Qdrant is not available, so a call with an accepted key answers 503.
    assert browser.ask("GET", "/api/models", Sec_Fetch_Site="same-origin").status_code == 503
    assert browser.ask("GET", "/api/models").status_code == 503
    for site in ("cross-site", "same-site"):
        assert browser.ask("GET", "/api/models", Sec_Fetch_Site=site).status_code == 401
    assert browser.ask("GET", "/api/models", Origin="http://127.0.0.1:9").status_code == 401


def test_a_session_has_the_scopes_of_its_key() -> None:
    browser = Browser()
    browser.log_in("shop")
    refused = browser.ask("DELETE", "/api/datasets/shop", **NAVIGATION)
    assert (refused.status_code, refused.json()["code"]) == (403, "key_refused")
    browser.log_in("operator")
    assert browser.ask("DELETE", "/api/datasets/shop", **NAVIGATION).status_code == 503


def test_a_page_closed_to_a_session_names_the_required_scope() -> None:
    browser = Browser()
    assert browser.log_in("feed").status_code == 303
    refused = browser.look("/")
    assert refused.status_code == 403
    assert "Your key does not open this" in refused.text
    assert "lacks the scope &#39;search&#39;" in refused.text
    assert 'href="/login?next=%2F"' in refused.text


def test_a_key_in_the_request_takes_precedence_over_the_session() -> None:
    browser = Browser()
    browser.log_in("operator")
    assert browser.ask("GET", "/api/models", X_Api_Key="guessed").status_code == 403
    assert browser.ask("DELETE", "/api/datasets/shop", X_Api_Key="the key of shop").status_code == 403


def test_logging_out_ends_the_session() -> None:
    browser = Browser()
    browser.log_in("shop")
    assert "Log out" in browser.look("/").text
    left = browser.send("/logout", {})
    assert (left.status_code, left.headers["location"]) == (303, "/")
    assert browser.look("/").status_code == 303


def test_the_top_bar_of_a_public_page_shows_who_is_logged_in() -> None:
    browser = Browser()
    assert "Log in" in browser.look("/docs").text
    browser.log_in("operator")
    assert "Logged in with the key operator" in browser.look("/docs").text


def test_a_link_from_another_site_opens_the_page_with_a_session() -> None:
    browser = Browser()
    browser.log_in("shop")
    kept, browser.cookies = browser.cookies, httpx.Cookies()  # the browser sends no cookie with the first request
    first = browser.look("/?q=1", Sec_Fetch_Site="cross-site")
    assert first.status_code == 200
    (onwards,) = re.findall(r'http-equiv="refresh" content="0; url=([^"]+)"', first.text)
    browser.cookies = kept
    arrived = browser.look(onwards.replace("&amp;", "&"))
    assert (arrived.status_code, arrived.headers["location"]) == (303, "/?q=1")


def test_a_link_from_another_site_leads_to_the_form_without_a_session() -> None:
    browser = Browser()
    (onwards,) = re.findall(r"url=([^\"]+)", browser.look("/?q=1", Sec_Fetch_Site="cross-site").text)
    assert browser.look(onwards.replace("&amp;", "&")).status_code == 200


def test_a_part_of_a_page_leads_the_whole_page_to_the_form() -> None:
    answer = Browser().look("/", HX_Request="true", HX_Current_URL=f"{HOST}/jobs?state=running")
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/login?next=%2Fjobs%3Fstate%3Drunning"


def test_without_keys_there_is_no_login() -> None:
    browser = Browser(app=app_with(keys=""))
    assert browser.look("/login?next=/docs").headers["location"] == "/docs"
    assert browser.log_in("shop").headers["location"] == "/"
    assert "Log in" not in browser.look("/").text


def test_a_public_page_and_its_calls_need_no_key_and_others_do() -> None:
    browser = Browser(app=app_with(public=True))
    assert browser.look("/").status_code == 200
    assert "Log in" in browser.look("/").text
    assert browser.look("/nowhere").status_code == 404
    for path in ("/api/models", "/api/facets?field=gender", "/api/products/1"):
        assert browser.ask("GET", path).status_code == 503, path
    for method, path in (
        ("GET", "/api/jobs"), ("GET", "/api/status"), ("GET", "/metrics"), ("PUT", "/api/products/1"),
        ("DELETE", "/api/datasets/shop"), ("POST", "/api/jobs/train"),
    ):  # fmt: skip
        assert browser.ask(method, path).status_code == 401, path
    assert browser.ask("GET", "/api/models", X_Api_Key="guessed").status_code == 403


NOW: Final = [1_800_000_000.0]


def sessions_of(text: str) -> Sessions:
    return Sessions(parse_api_keys(text), clock=lambda: NOW[0])


def started(sessions: Sessions, key: ApiKey) -> Scope:
    headers = MutableHeaders()
    sessions.start(headers, key, secure=False)
    return {"headers": [(b"cookie", headers["set-cookie"].partition(";")[0].encode())]}


def test_a_session_ends_after_twelve_hours() -> None:
    sessions, (key, *_) = sessions_of(KEYS), parse_api_keys(KEYS)
    scope = started(sessions, key)
    NOW[0] += MAX_AGE_S
    assert sessions.key_of(scope) == key
    NOW[0] += 1
    assert sessions.key_of(scope) is None


def test_a_session_ends_when_any_key_is_changed() -> None:
    (key, *_) = parse_api_keys(KEYS)
    before, after = sessions_of(KEYS), sessions_of(KEYS.replace("feed:ingest", "feed:ingest+train"))
    scope = started(before, key)
    ((name, value),) = scope["headers"]
    renamed = {"headers": [(name, value.replace(before.cookie.encode(), after.cookie.encode()))]}
    assert before.key_of(scope) == key
    assert after.key_of(scope) is after.key_of(renamed) is None


def test_a_changed_cookie_is_refused() -> None:
    sessions, (key, *_) = sessions_of(KEYS), parse_api_keys(KEYS)
    ((name, value),) = started(sessions, key)["headers"]
    assert sessions.key_of({"headers": [(name, value)]}) == key
    for changed in (value[:-1], value[:30] + b"x" + value[31:], sessions.cookie.encode() + b"=", b"x" * 5_000 + value):
        assert sessions.key_of({"headers": [(name, changed)]}) is None


def test_keys_with_the_same_name_have_separate_sessions() -> None:
    text = ",".join(f"shop:{scopes}:{letter * 64}" for scopes, letter in (("search", "a"), ("admin", "b")))
    sessions = sessions_of(text)
    for key in parse_api_keys(text):
        assert sessions.key_of(started(sessions, key)) == key


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"host": "a.example", "origin": "https://a.example"}, True),
        ({"host": "a.example", "origin": "https://b.example"}, False),
        ({"host": "a.example", "origin": "null"}, False),
        ({"sec-fetch-site": "same-origin", "host": "behind", "origin": "https://a.example"}, True),
    ],
)
def test_a_request_of_a_same_origin_page_is_recognised_by_its_headers(headers: dict[str, str], *, own: bool) -> None:
    scope = {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    assert is_same_origin(scope) is own
