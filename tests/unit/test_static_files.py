"""Static files: addressed by their content, cached permanently, compressed once."""

from __future__ import annotations

import asyncio
import gzip
import re
from importlib.resources import files

import httpx
import pytest

from search_api.app import create_app
from search_api.pages.static_files import StaticFiles
from search_api.settings import Settings

APP = create_app(Settings(qdrant_url="http://127.0.0.1:9", redis_url="redis://127.0.0.1:9/0"))
STATIC: StaticFiles = APP.state.pages.static


def ask(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            sent = {name.replace("_", "-"): value for name, value in {"accept_encoding": "identity", **headers}.items()}
            return await client.request(method, path, headers=sent)

    return asyncio.run(asked())


def test_a_file_is_cached_permanently_under_the_address_of_its_content() -> None:
    answer = ask(STATIC.url("css/tokens.css"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == (files("search_api.pages") / "static" / "css" / "tokens.css").read_bytes()


def test_the_address_changes_with_any_files_content() -> None:
    before, same, after = (StaticFiles({"a.js": text, "b.css": b""}) for text in (b"1", b"1", b"2"))
    assert before.url("b.css") == same.url("b.css") != after.url("b.css")


def test_an_outdated_address_gives_the_current_file_without_caching() -> None:
    answer = ask("/static/0123456789ab/js/frame.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


def test_a_file_is_compressed_if_the_client_accepts_it() -> None:
    plain = ask(STATIC.url("js/frame.js"))
    packed = ask(STATIC.url("js/frame.js"), accept_encoding="br, gzip;q=0.8")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in ask(STATIC.url("js/frame.js"), accept_encoding="gzip;q=0, br").headers


def test_the_compressed_file_is_computed_once_and_deterministic() -> None:
    one, other = (StaticFiles({"a.js": b"let a = 1;" * 100}) for _ in range(2))
    first = one._files["a.js"].packed
    assert first is one._files["a.js"].packed
    assert first == other._files["a.js"].packed
    assert first is not None
    assert gzip.decompress(first) == b"let a = 1;" * 100


def test_a_file_that_has_not_changed_is_not_sent_again() -> None:
    first = ask(STATIC.url("icon.svg"))
    assert ask(STATIC.url("icon.svg"), if_none_match=f'"other", W/{first.headers["etag"]}').status_code == 304
    assert ask(STATIC.url("icon.svg"), if_none_match='"other"').status_code == 200


def test_head_gives_the_headers_of_get() -> None:
    got, head = ask(STATIC.url("icon.svg")), ask(STATIC.url("icon.svg"), "HEAD")
    assert (head.status_code, head.headers["etag"], head.headers["content-length"]) == (
        200, got.headers["etag"], got.headers["content-length"],
    )  # fmt: skip


@pytest.mark.parametrize("path", ["css/none.css", "../routes.py", "%2e%2e/routes.py", "css", "", "css/tokens.css/"])
def test_only_static_files_are_served(path: str) -> None:
    assert ask(f"/static/{STATIC.version}/{path}").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_static_files_accept_only_get_and_head(method: str) -> None:
    answer = ask(STATIC.url("icon.svg"), method)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_a_template_cannot_name_a_missing_file() -> None:
    with pytest.raises(KeyError, match="css/none"):
        STATIC.url("css/none.css")


def test_a_vendored_file_is_named_without_its_version() -> None:
    assert ask(STATIC.vendored("htmx.org", "htmx.min.js")).headers["content-type"] == "text/javascript; charset=utf-8"
    with pytest.raises(KeyError, match=r"none\.js"):
        STATIC.vendored("htmx.org", "none.js")


def test_modules_import_only_existing_files() -> None:
    folder = files("search_api.pages") / "static" / "js"
    for module in folder.iterdir():
        if module.is_file():
            imported = re.findall(r'(?:from|import)\s+"(\./[^"]+)"', module.read_text())
            assert all((folder / name).is_file() for name in imported), module.name
