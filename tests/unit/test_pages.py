"""Pages: their headers, their errors, and how a client's preference for a page is detected."""

from __future__ import annotations

import asyncio
import functools
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from jinja2 import ChoiceLoader, DictLoader, UndefinedError
from starlette.responses import RedirectResponse, Response

from search_api.answers import image_url
from search_api.app import create_app
from search_api.pages.middleware import SECURITY_HEADERS
from search_api.pages.templating import render
from search_api.settings import Settings
from vitrine.errors import ProductNotFound, TooManyRequests, Unavailable, VitrineError
from vitrine.web import open_to_all
from vitrine.web.server import build_server

SETTINGS = Settings(qdrant_url="http://127.0.0.1:9", redis_url="redis://127.0.0.1:9/0")
ERRORS: dict[str, Exception] = {
    "gone": ProductNotFound("no product <b>7</b> in the dataset 'shop'"),
    "fast": TooManyRequests("more than 5 requests a second", retry_after_s=2.4),
    "away": Unavailable("the embedder is starting again", retry_after_s=3),
    "defect": RuntimeError("a secret of the program"),
}


@functools.cache
def app_with(template: str = "", *, path_prefix: str = "") -> FastAPI:
    """The search API with two extra pages: one renders `template`, one raises the requested error."""
    app = create_app(SETTINGS.model_copy(update={"path_prefix": path_prefix}))

    async def shown(request: Request, text: str = "") -> Response:
        return render(request, "shown.html", text=text)

    async def raising(kind: str) -> Response:
        raise ERRORS[kind]

    app.add_api_route("/shown", open_to_all(shown), include_in_schema=False)
    app.add_api_route("/raising/{kind}", open_to_all(raising), include_in_schema=False)
    environment = app.state.pages.environment
    environment.loader = ChoiceLoader([environment.loader, DictLoader({"shown.html": template})])
    return app


def ask(app: FastAPI, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(
                method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )

    return asyncio.run(asked())


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_page_has_the_security_headers() -> None:
    app = app_with("<p>{{ text }}</p>")
    for path in ("/", "/docs", "/shown", "/nowhere", "/raising/away", "/raising/defect"):
        answer = ask(app, path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8", path
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS, path
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"]


def test_the_content_security_policy_forbids_inline_code_and_other_origins() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*", policy)


def test_no_page_has_inline_scripts_styles_or_handlers() -> None:
    app = app_with()
    for path in ("/", "/docs", "/nowhere"):
        for tag, attributes in Elements(ask(app, path).text).found:
            assert tag != "style"
            assert tag != "script" or attributes.get("src"), path
            assert not any(name == "style" or name.startswith("on") for name in attributes), (path, tag, attributes)


def test_no_template_has_a_style_attribute_or_an_inline_script() -> None:
    inline = re.compile(r"\sstyle\s*=|\son[a-z]+\s*=|<style|<script(?![^>]*\ssrc=)|javascript:|\|\s*safe\b")

    def templates(folder: Any) -> list[Any]:
        return [
            found
            for entry in folder.iterdir()
            for found in (templates(entry) if entry.is_dir() else [entry])
        ]  # fmt: skip

    faulty = {
        (template.name, line.strip())
        for template in templates(files("search_api.pages") / "templates")
        for line in template.read_text().splitlines()
        if inline.search(line) and "shapes[name] | safe" not in line  # icons are trusted text
    }
    assert not faulty


def test_text_on_a_page_is_escaped() -> None:
    answer = ask(app_with('<p title="{{ text }}">{{ text }}</p>'), "/shown?text=%3Cscript%3Ealert(1)%3C/script%3E%22")
    assert answer.text == (
        '<p title="&lt;script&gt;alert(1)&lt;/script&gt;&#34;">&lt;script&gt;alert(1)&lt;/script&gt;&#34;</p>'
    )


def test_an_undefined_template_variable_is_an_error_and_not_an_empty_text() -> None:
    app = app_with("{{ nothing_of_this_name }}")
    with pytest.raises(UndefinedError, match="nothing_of_this_name"):
        app.state.pages.environment.get_template("shown.html").render()
    assert ask(app, "/shown").status_code == 500


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/nowhere", 404, ["Nothing is here", "may be mistyped"]),
        ("/raising/gone", 404, ["This product is not here", "No product &lt;b&gt;7&lt;/b&gt; in the dataset"]),
        ("/raising/fast", 429, ["Too many requests", "Try again in 3\u202fs"]),
        ("/raising/away", 503, ["Back in a moment", "The embedder is starting again", "Try again in 3\u202fs"]),
        ("/raising/defect", 500, ["Something went wrong here"]),
    ],
)
def test_an_error_of_a_page_is_a_page_with_the_reason(path: str, status: int, says: list[str]) -> None:
    answer = ask(app_with(), path)
    assert answer.status_code == status
    assert all(words in answer.text for words in says), answer.text
    assert "a secret of the program" not in answer.text


def test_an_error_page_has_the_retry_after_of_the_call() -> None:
    assert ask(app_with(), "/raising/fast").headers["retry-after"] == "3"


def test_a_part_of_a_page_that_fails_is_a_fragment() -> None:
    answer = ask(app_with(), "/raising/away", hx_request="true")
    assert answer.status_code == 503
    assert "<html" not in answer.text
    assert 'role="alert"' in answer.text
    assert answer.headers["x-vitrine-detail"] == "the embedder is starting again"
    assert "<html" in ask(app_with(), "/raising/away", hx_request="true", hx_history_restore_request="true").text


@pytest.mark.parametrize("path", ["/api/none", "/api", "/static/x/none.css", "/favicon.ico"])
def test_api_calls_get_problem_documents_for_any_accept_header(path: str) -> None:
    answer = ask(app_with(), path, accept="text/html")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404
    assert "content-security-policy" not in answer.headers


def test_a_refusal_before_the_routes_is_a_page_too() -> None:
    answer = ask(app_with(), "/", host="evil.example")
    assert answer.status_code == 421
    assert "This is not a host name of this service" in answer.text


def test_a_page_is_compressed_if_the_client_accepts_it() -> None:
    app = app_with()
    packed, plain = ask(app, "/", accept_encoding="gzip"), ask(app, "/", accept_encoding="identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text


def test_the_documentation_is_swagger_ui_with_the_document_of_the_api() -> None:
    app = app_with(path_prefix="/vitrine")
    page = ask(app, "/docs")
    scripts = [attributes.get("src") or "" for tag, attributes in Elements(page.text).found if tag == "script"]
    assert any(script.endswith("/swagger-ui-bundle.js") for script in scripts)
    assert all(ask(app, script).status_code == 200 for script in scripts)
    assert 'data-document="/vitrine/openapi.json"' in page.text


def test_the_top_bar_links_the_pages_of_the_application() -> None:
    app = app_with()
    links = [
        attributes["href"] for tag, attributes in Elements(ask(app, "/").text).found
        if tag == "a" and "aria-current" in attributes
    ]  # fmt: skip
    assert links == ["/", "/"]


def test_a_detail_with_any_characters_reaches_the_script_unchanged() -> None:
    ERRORS["odd"] = VitrineError("naïve \u2192 \r\nX-Evil: 1")
    answer = ask(app_with(), "/raising/odd", hx_request="true")
    assert "x-evil" not in answer.headers
    assert answer.headers["x-vitrine-detail"] == "na%C3%AFve %E2%86%92 %0D%0AX-Evil: 1"


@pytest.mark.parametrize("asked", ["/nowhere", "/vitrine/nowhere"], ids=["proxy strips", "proxy does not strip"])
def test_behind_a_proxy_every_address_of_a_page_has_the_prefix(asked: str) -> None:
    page = ask(app_with(path_prefix="/vitrine"), asked)
    assert page.status_code == 404
    addresses = [
        value
        for _, attributes in Elements(page.text).found
        for name, value in attributes.items()
        if name in ("href", "src", "action") and value and not value.startswith("#")
    ]
    assert len(addresses) > 10
    assert all(address.startswith("/vitrine/") for address in addresses)


@pytest.mark.parametrize("prefix", ["", "/vitrine"], ids=["proxy strips", "proxy does not strip"])
def test_behind_a_proxy_pages_files_calls_and_health_are_found(prefix: str) -> None:
    app = app_with("{{ url('/catalogue', gender=['a b', 'c'], page=none) }}", path_prefix="/vitrine")
    static = app.state.pages.static.url("icon.svg")
    statuses = {path: ask(app, prefix + path).status_code for path in ("/", static, "/livez", "/openapi.json")}
    assert set(statuses.values()) == {200}, statuses
    assert ask(app, prefix + "/shown").text == "/vitrine/catalogue?gender=a+b&amp;gender=c"
    assert ask(app, prefix + "/openapi.json").json()["servers"] == [{"url": "/vitrine"}]
    assert ask(app, prefix + "/api/none").json()["code"] == "not_found"


PROXY = "10.0.0.7"


def ask_through(peer: str, path: str, prefix: str | list[str], *, setting: str = "") -> httpx.Response:
    """Ask the search API as its server runs it, from an address that sends `X-Forwarded-Prefix`."""
    settings = SETTINGS.model_copy(update={"trusted_proxies": (PROXY,), "path_prefix": setting})
    app = create_app(settings)
    app.add_api_route("/away", open_to_all(_away), include_in_schema=False)
    server = build_server(app, host="127.0.0.1", port=0, settings=settings, on_drain=lambda: None)
    server.config.load()
    headers = [("X-Forwarded-Prefix", one) for one in ([prefix] if isinstance(prefix, str) else prefix)]

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(server.config.loaded_app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(asked())


async def _away(request: Request) -> Response:
    image = image_url("shop", "7")
    return RedirectResponse(request.app.state.pages.url("/jobs"), status_code=303, headers={"X-Image": image})


@pytest.mark.parametrize("path", ["/away", "/shop/vitrine/away"], ids=["proxy strips", "proxy does not strip"])
@pytest.mark.parametrize(
    ("prefix", "setting"),
    [
        ("/shop/vitrine", ""), ("/shop/vitrine/", ""), ("/shop, /vitrine", ""), (["/shop", "/vitrine"], ""),
        ("/shop/vitrine", "/elsewhere"), ("", "/shop/vitrine"), ("//evil.example", "/shop/vitrine"),
    ],
)  # fmt: skip
def test_a_trusted_proxy_names_the_prefix_of_every_address(path: str, prefix: str | list[str], setting: str) -> None:
    answer = ask_through(PROXY, path, prefix, setting=setting)
    assert answer.headers["location"] == "/shop/vitrine/jobs"
    assert answer.headers["x-image"].startswith("/shop/vitrine/api/images/7?")


def test_a_trusted_proxys_prefix_is_that_of_pages_and_of_the_document() -> None:
    page = ask_through(PROXY, "/nowhere", "/shop")
    addresses = [
        value for _, attributes in Elements(page.text).found for name, value in attributes.items()
        if name in ("href", "src", "action") and value and not value.startswith("#")
    ]  # fmt: skip
    assert len(addresses) > 10
    assert all(address.startswith("/shop/") for address in addresses)
    assert ask_through(PROXY, "/openapi.json", "/shop").json()["servers"] == [{"url": "/shop"}]


@pytest.mark.parametrize(
    ("peer", "prefix"),
    [
        ("203.0.113.9", "/shop"), ("::1", "/shop"), ("not an address", "/shop"),
        (PROXY, "shop"), (PROXY, "//evil.example"), (PROXY, "/a/../b"), (PROXY, "/."), (PROXY, "/a b"), (PROXY, "/a?b"),
        (PROXY, '/"><script>'), (PROXY, "/%2e%2e"), (PROXY, "https://evil.example"), (PROXY, "/a\\b"), (PROXY, "/"),
        (PROXY, "/" + "a" * 300),
    ],
)  # fmt: skip
def test_a_prefix_of_others_or_that_is_no_plain_path_is_ignored(peer: str, prefix: str) -> None:
    answer = ask_through(peer, "/away", prefix)
    assert answer.headers["location"] == "/jobs"
    assert answer.headers["x-image"].startswith("/api/images/7?")


def test_a_path_that_only_begins_like_the_prefix_is_another() -> None:
    assert ask(app_with(path_prefix="/vitrine"), "/vitrines").status_code == 404
    assert ask(app_with(path_prefix="/vitrine"), "/vitrine").status_code == 200


@pytest.mark.parametrize("prefix", ["vitrine", "/vitrine/", "/", "//x", "/a b", "/a?b"])
def test_a_prefix_that_is_not_a_path_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="path_prefix"):
        Settings(path_prefix=prefix)
