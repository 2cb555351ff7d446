"""Every kind of failure that the Python client can meet, against a small HTTP server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from harness.processes import free_port
from harness.replying_api import ANSWER, Api, Reply, problem
from tools.client_models import modules
from vitrine import errors as server_errors
from vitrine.errors.base import VitrineError as ServerError
from vitrine.images.checks import REASONS
from vitrine_client import (
    AnswerInvalid,
    ApiError,
    ConnectionLost,
    ServerUnreachable,
    TimedOut,
    Vitrine,
    VitrineError,
    api_errors,
)


def server_classes(base: type[ServerError] = ServerError) -> Iterator[type[ServerError]]:
    for one in base.__subclasses__():
        if one.__module__.startswith(server_errors.__name__):
            yield one
            yield from server_classes(one)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.name if isinstance(path, Path) else "")
def test_the_generated_modules_are_those_of_the_openapi_document(path: Path) -> None:
    assert path.read_text() == modules()[path](), "run `make docs`"


def test_every_error_of_the_api_is_a_class_with_its_code_and_its_retryable_flag(api: Api) -> None:
    with api.client() as vitrine:
        for one in server_classes():
            if one is server_errors.ImageRejected:
                continue
            api.replies = [problem(one.status, one.code, retryable=one.retryable)]
            with pytest.raises(ApiError) as caught:
                vitrine.status()
            same = getattr(api_errors, one.__name__)
            assert isinstance(caught.value, same) or same.code == type(caught.value).code
            assert (caught.value.code, caught.value.retryable) == (one.code, one.retryable)
            assert same.code == one.code
            assert same.__base__.__name__ in {one.__bases__[0].__name__, "ApiError"}
        for reason in REASONS:
            api.replies = [problem(400, f"image_{reason}")]
            with pytest.raises(api_errors.ImageRejected, match=f"image_{reason}"):
                vitrine.search(b"no picture")


def test_an_unknown_code_is_the_class_of_its_status(api: Api) -> None:
    api.replies = [problem(404, "wardrobe_not_found", {"X-Request-ID": "r-17"})]
    with api.client() as vitrine, pytest.raises(api_errors.NotFound) as caught:
        vitrine.products.get("7")
    assert (caught.value.code, caught.value.status, caught.value.request_id) == ("wardrobe_not_found", 404, "r-17")
    api.replies = [problem(418, "teapot", retryable=True)]
    with api.client() as vitrine, pytest.raises(ApiError) as unknown:
        vitrine.products.get("7")
    assert type(unknown.value) is ApiError
    assert unknown.value.retryable


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(502, b"<html>bad gateway</html>", media_type="text/html"), api_errors.Unavailable),
        (Reply(413, b"too large", media_type="text/plain"), api_errors.BodyTooLarge),
        (Reply(404, b"<html>not here</html>", media_type="text/html"), AnswerInvalid),
        (Reply(200, b"<html>welcome</html>", media_type="text/html"), AnswerInvalid),
        (Reply(200, [1, 2]), AnswerInvalid),
        (Reply(200, {"success": True}), AnswerInvalid),
        (Reply(200, b"{", breaks=True), ConnectionLost),
        (Reply(200, ANSWER, after_s=30.0), TimedOut),
    ],
)
def test_what_is_no_answer_of_vitrine_is_an_error_of_its_own(
    api: Api, reply: Reply, expected: type[VitrineError]
) -> None:
    api.replies = [reply]
    with api.client(timeout_s=0.5) as vitrine, pytest.raises(expected):
        vitrine.search(b"picture")


def test_a_server_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Vitrine(url, max_retries=0) as vitrine, pytest.raises(ServerUnreachable, match=url):
        vitrine.status()
    with Vitrine("ftp://host", max_retries=0) as vitrine, pytest.raises(ServerUnreachable, match="ftp://host"):
        vitrine.status()
    for wrong in ("http://[half", "http://host:port", "http://host:999999"):
        with pytest.raises(ServerUnreachable), Vitrine(wrong, max_retries=0) as vitrine:
            vitrine.status()


def test_address_and_key_come_from_the_environment(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_URL", f"{api.url}/shop/")
    monkeypatch.setenv("VITRINE_API_KEY", "secret")
    with Vitrine() as vitrine:
        vitrine.search(b"picture")
    with Vitrine(api.url, api_key="other") as vitrine:
        vitrine.search(b"picture")
    first, second = api.calls
    assert (first.path, first.headers["x-api-key"]) == ("/shop/api/search", "secret")
    assert (second.path, second.headers["x-api-key"]) == ("/api/search", "other")
    assert first.headers["user-agent"].startswith("vitrine-client/")


def test_what_the_server_refuses_for_the_moment_is_asked_again(api: Api) -> None:
    date = formatdate(time.time() - 5, usegmt=True)
    api.replies = [
        problem(503, "embedder_overloaded", {"Retry-After": "0"}, retryable=True),
        problem(429, "too_many_requests", {"Retry-After": date}, retryable=True),
        Reply(content=ANSWER),
    ]
    with api.client(max_retries=2) as vitrine:
        assert vitrine.search(b"picture").ranking == [7]
    assert len(api.calls) == 3
    assert len({call.body.count(b"picture") for call in api.calls}) == 1, "the picture is sent each time"


def test_a_lost_answer_is_asked_for_again_if_the_call_only_reads(api: Api) -> None:
    api.replies = [Reply(content=b"{", breaks=True), Reply(content=ANSWER)]
    with api.client(max_retries=1) as vitrine:
        assert vitrine.search(b"picture").ranking == [7]
        api.replies = [Reply(content=b"{", breaks=True), Reply(content=ANSWER)]
        with pytest.raises(ConnectionLost):
            vitrine.products.delete("7")


@pytest.mark.parametrize(
    "reply",
    [
        problem(500, "internal_error", retryable=True),
        problem(503, "vector_store_refused"),
        problem(503, "unavailable", {"Retry-After": "3600"}, retryable=True),
    ],
)
def test_what_would_fail_again_or_takes_too_long_is_not_repeated(api: Api, reply: Reply) -> None:
    api.replies = [reply]
    with api.client(max_retries=5) as vitrine, pytest.raises(ApiError):
        vitrine.search(b"picture")
    assert len(api.calls) == 1
