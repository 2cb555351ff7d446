"""The Python client against a small HTTP server: what it sends, how it reads answers, and every kind of failure."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from harness.processes import free_port
from tools.client_models import DOCUMENT, modules
from vitrine import errors as server_errors
from vitrine.errors.base import VitrineError as ServerError
from vitrine.images.checks import REASONS
from vitrine_client import (
    MISSING,
    PRESENT,
    AnswerInvalid,
    ApiError,
    AsyncVitrine,
    ConnectionLost,
    Filters,
    JobFailed,
    Link,
    Not,
    PictureUnusable,
    Range,
    ServerUnreachable,
    TimedOut,
    Upload,
    Vitrine,
    VitrineError,
    api_errors,
)
from vitrine_client.filters import filter_pairs
from vitrine_client.models import JOB_KINDS, IndexParams, Recipe

ANSWER: dict[str, Any] = {
    "success": True, "ranking": [7], "dataset": "d", "model": "m", "release": "m-0123456789", "plan": "exact",
    "tookMs": {"decode": 1.0, "embed": 2.0, "search": 3.0, "total": 6.0}, "total": 1,
    "results": [{"id": 7, "score": 0.9, "dataset": "d", "image": "/api/images/7?dataset=d", "gender": "Women"}],
}  # fmt: skip
JOB = {"id": "j1", "kind": "index", "created_at": "2026-01-01T00:00:00+00:00"}


@dataclass
class Call:
    """A request that arrived."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer. `breaks`: the connection ends in the middle of the body."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    breaks: bool = False
    after_s: float = 0.0

    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass
class Api:
    """A server that gives the replies in order, the last one again and again."""

    url: str
    replies: list[Reply] = field(default_factory=lambda: [Reply(content=ANSWER)])
    calls: list[Call] = field(default_factory=list)
    choose: Callable[[Call], Reply] | None = None

    def reply_to(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.choose is not None:
            return self.choose(call)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def client(self, **options: Any) -> Vitrine:
        return Vitrine(self.url, **{"max_retries": 0, **options})


@pytest.fixture
def api() -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(
                self.command,
                parts.path,
                parse_qsl(parts.query, keep_blank_values=True),
                headers,
                self.rfile.read(length),
            )
            reply = found.reply_to(call)
            if reply.after_s:
                released.wait(reply.after_s)
            body = reply.body()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(body) + (10 if reply.breaks else 0)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if reply.breaks:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names of the base class

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is part of a test."""

    released = threading.Event()
    server = Server(("127.0.0.1", 0), Handler)
    found = Api(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def problem(status: int, code: str, headers: dict[str, str] | None = None, *, retryable: bool = False) -> Reply:
    content = {"success": False, "status": status, "code": code, "detail": f"it is {code}", "retryable": retryable}
    return Reply(status, content, headers or {}, "application/problem+json")


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


def test_filters_are_written_as_the_api_reads_them() -> None:
    filters: Filters = {
        "gender": ["Women", "Girls"],
        "baseColour": Not("Red", "Pink"),
        "price": Range(10, 20.5),
        "year": [Range(min=2012), Not(2015)],
        "new": True,
        "season": MISSING,
        "brand": PRESENT,
    }
    assert filter_pairs(filters) == [
        ("gender", "Women"), ("gender", "Girls"), ("!baseColour", "Red"), ("!baseColour", "Pink"), ("priceMin", "10"),
        ("priceMax", "20.5"), ("yearMin", "2012"), ("!year", "2015"), ("new", "true"), ("season", ""), ("!brand", ""),
    ]  # fmt: skip
    nothings: list[Any] = [Range(), Not(), [], None]
    for nothing in nothings:
        with pytest.raises(ValueError, match="'price'"):
            filter_pairs({"price": nothing})


def form(call: Call) -> dict[str, list[str]]:
    """The fields of a multipart form."""
    boundary = call.headers["content-type"].partition("boundary=")[2].encode()
    fields: dict[str, list[str]] = {}
    for part in call.body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        fields.setdefault(name, []).append(value.removesuffix(b"\r\n").decode())
    return fields


def test_a_search_sends_its_options_under_the_names_of_the_api(api: Api, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"PICTURE")
    pictures: list[Any] = [tmp_path / "photo.jpg", str(tmp_path / "photo.jpg"), b"PICTURE", BytesIO(b"PICTURE")]
    with api.client() as vitrine:
        for picture in pictures:
            found = vitrine.search(
                picture, filters={"gender": "Women"}, top_k=3, group_by="gender", facets=["gender", "year"], flip=True,
                region=(0.1, 0.2, 0.5, 0.5), min_score=None,
            )  # fmt: skip
            assert found.took_ms.total == 6.0
            assert found.results[0].attributes == {"gender": "Women"}
        vitrine.search(Upload("u1"), top_k=2)
    expected = {
        "topK": ["3"], "groupBy": ["gender"], "facets": ["gender,year"], "flip": ["true"],
        "region": ["0.1,0.2,0.5,0.5"], "gender": ["Women"], "image": ["PICTURE"],
    }  # fmt: skip
    assert [form(call) for call in api.calls] == [expected] * 4 + [{"topK": ["2"], "upload": ["u1"]}]


def test_pictures_that_cannot_be_read_are_named_and_nothing_is_sent(api: Api, tmp_path: Path) -> None:
    with api.client() as vitrine:
        for picture, words in (
            (tmp_path / "no.jpg", "no.jpg"),
            (tmp_path, str(tmp_path)),
            ("https://shop.example/1.jpg", r"write Link\('https://shop.example/1.jpg'\)"),
            (StringIO("text"), "binary mode"),
        ):
            with pytest.raises(PictureUnusable, match=words):
                vitrine.search(picture)  # type: ignore[arg-type]
    assert api.calls == []


def test_a_link_is_fetched_by_the_client_bounded_and_without_the_key(api: Api) -> None:
    def choose(call: Call) -> Reply:
        if call.path == "/picture":
            return Reply(content=b"PICTURE", media_type="image/jpeg")
        return Reply(404, b"", media_type="text/plain") if call.path == "/gone" else Reply(content=ANSWER)

    api.choose = choose
    with api.client(api_key="secret") as vitrine:
        vitrine.search(Link(f"{api.url}/picture"))
        with pytest.raises(PictureUnusable, match="more than 3 bytes"):
            vitrine.search(Link(f"{api.url}/picture", max_bytes=3))
        with pytest.raises(PictureUnusable, match="404"):
            vitrine.search(Link(f"{api.url}/gone"))
    assert "x-api-key" not in api.calls[0].headers
    assert form(api.calls[1])["image"] == ["PICTURE"]


def test_a_picture_of_an_answer_is_fetched_from_this_server_alone(api: Api) -> None:
    api.replies = [Reply(content=b"PICTURE", media_type="image/jpeg")]
    with Vitrine(f"{api.url}/shop", api_key="secret") as vitrine:
        assert vitrine.picture("/shop/api/images/7?dataset=d", width=64) == b"PICTURE"
        with pytest.raises(AnswerInvalid, match="not an address"):
            vitrine.picture("http://other.example/7.jpg")
    assert (api.calls[0].path, api.calls[0].query) == ("/shop/api/images/7", [("dataset", "d"), ("width", "64")])
    assert len(api.calls) == 1


def test_recommendations_take_ids_as_json_and_pictures_as_a_form(api: Api, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"PICTURE")
    with api.client() as vitrine:
        vitrine.recommend([7, "a"], [9], filters={"year": Range(2010)}, top_k=4, facets=["gender"])
        vitrine.recommend([tmp_path / "photo.jpg", 7], [Upload("u1")], top_k=4)
    assert api.calls[0].json() == {
        "positive": [7, "a"], "negative": [9], "topK": 4, "facets": "gender", "filters": {"yearMin": ["2010"]},
    }  # fmt: skip
    assert form(api.calls[1]) == {
        "positive": ["7"], "positiveImage": ["PICTURE"], "negativeUpload": ["u1"], "topK": ["4"],
    }  # fmt: skip


def product(number: int) -> dict[str, Any]:
    return {"id": number, "dataset": "d", "image": f"/api/images/{number}"}


def test_lists_are_read_page_by_page_and_exports_line_by_line(api: Api) -> None:
    def choose(call: Call) -> Reply:
        if call.headers["accept"] == "application/x-ndjson":
            lines = "".join(json.dumps(product(number)) + "\n" for number in range(3))
            return Reply(
                content=lines.encode(), media_type="application/x-ndjson", breaks=("sort", "year") in call.query
            )
        start = int(dict(call.query).get("cursor", "0"))
        size = int(dict(call.query)["limit"])
        numbers = range(start, min(start + size, 5))
        following = str(start + size) if start + size < 5 else None
        page = {"success": True, "dataset": "d", "total": 5, "products": [product(n) for n in numbers]}
        return Reply(content={**page, "next": following})

    api.choose = choose
    with api.client() as vitrine:
        assert [one.id for one in vitrine.products.list(page_size=2, sort="-year")] == [0, 1, 2, 3, 4]
        assert [one.id for one in vitrine.products.list(page_size=2, limit=3)] == [0, 1, 2]
        assert len(api.calls) == 5
        assert [one.id for one in vitrine.products.export()] == [0, 1, 2]
        with pytest.raises(ConnectionLost):
            list(vitrine.products.export(sort="year"))


def event(version: int, state: str, **more: Any) -> str:
    return f"id: {version}\nevent: {state}\ndata: {json.dumps({**JOB, 'version': version, 'state': state, **more})}\n\n"


def stream(*parts: str) -> Reply:
    return Reply(content="".join(parts).encode(), media_type="text/event-stream")


def job(version: int, state: str) -> Reply:
    return Reply(content={"success": True, "job": {**JOB, "version": version, "state": state}})


def test_a_job_is_followed_through_broken_streams_and_by_polling(api: Api) -> None:
    api.replies = [
        stream(event(1, "queued"), ": alive\n\n", event(2, "running", phase="embedding")),
        job(2, "running"),
        Reply(502, b"a proxy", media_type="text/plain"),
        job(3, "running"),
        stream(event(4, "running"), 'event: end\ndata: {"reason": "draining"}\n\n'),
        problem(503, "draining", retryable=True),
        stream(event(5, "succeeded")),
    ]
    seen: list[int] = []
    with api.client() as vitrine:
        ended = vitrine.jobs.wait("j1", on_progress=lambda one: seen.append(one.version))
    assert ended.state == "succeeded"
    assert seen == [1, 2, 3, 4, 5]
    assert api.calls[4].headers["last-event-id"] == "3"


def test_a_job_that_does_not_succeed_is_an_error_with_its_code(api: Api) -> None:
    failed = event(3, "failed", error={"code": "verification_failed", "detail": "2 of 5 are missing"})
    api.replies = [stream(failed)]
    with api.client() as vitrine:
        with pytest.raises(JobFailed, match="2 of 5 are missing") as caught:
            vitrine.jobs.wait("j1")
        assert (caught.value.code, caught.value.job_id) == ("verification_failed", "j1")
        assert vitrine.jobs.wait("j1", must_succeed=False).state == "failed"
        api.replies = [problem(404, "job_not_found")]
        with pytest.raises(api_errors.JobNotFound):
            vitrine.jobs.wait("j1")
        api.replies = [stream(event(1, "running"))]
        with pytest.raises(TimedOut, match="it goes on"):
            vitrine.jobs.wait("j1", timeout_s=0.0)


def test_a_job_starts_with_what_was_given_alone_and_with_a_key_of_its_own(api: Api) -> None:
    api.replies = [job(1, "queued")]
    with api.client() as vitrine:
        vitrine.jobs.start(IndexParams(dataset="d", root="/r", model="m", allow_removal=True))
        vitrine.jobs.start(IndexParams(dataset="d", root="/r", model="m"), idempotency_key="mine")
    assert api.calls[0].path == "/api/jobs/index"
    assert api.calls[0].json() == {"dataset": "d", "root": "/r", "model": "m", "allowRemoval": True}
    assert len(api.calls[0].headers["idempotency-key"]) >= 16
    assert api.calls[1].headers["idempotency-key"] == "mine"
    with pytest.raises(ValueError, match="epoch"):
        Recipe(name="r", kind="metric", epoch=3)  # type: ignore[call-arg]


def test_every_call_of_the_api_has_a_method() -> None:
    """But those for balancers, and pictures by HEAD."""
    asked: set[tuple[str, str]] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.add((request.method.lower(), request.url.path))
        return httpx.Response(500, json={"code": "internal_error", "detail": "x"})

    def call(method: Callable[[], object]) -> None:
        with pytest.raises(ApiError):
            list(method())  # type: ignore[call-overload]

    with Vitrine("http://shop", transport=httpx.MockTransport(answer)) as vitrine:
        for one in (
            vitrine.status, vitrine.datasets.list, vitrine.releases.list, vitrine.releases.models, vitrine.jobs.list,
            vitrine.products.list, lambda: vitrine.search(b"x"), lambda: vitrine.similar("P"),
            lambda: vitrine.recommend([1]), lambda: vitrine.explain(b"x", "P"), lambda: vitrine.facets("gender"),
            lambda: vitrine.upload(b"x"), lambda: vitrine.picture("/api/images/P"),
            lambda: vitrine.picture("/api/uploads/U"), lambda: vitrine.products.get("P"),
            lambda: vitrine.products.put("P", b"x"), lambda: vitrine.products.delete("P"),
            lambda: vitrine.products.restore("P"), lambda: vitrine.datasets.deleted("D"),
            lambda: vitrine.datasets.drop("D"), lambda: vitrine.releases.activate("R"), lambda: vitrine.jobs.get("J"),
            lambda: vitrine.jobs.cancel("J"), lambda: vitrine.jobs.delete("J"), lambda: vitrine.jobs.events("J"),
        ):  # fmt: skip
            call(one)
        for params in JOB_KINDS:
            call(lambda params=params: vitrine.jobs.start(params.model_construct()))  # type: ignore[misc]
    names = {"{dataset}": "D", "{product_id}": "P", "{job_id}": "J", "{release_id}": "R", "{upload_id}": "U"}
    documented = set()
    for path, operations in json.loads(DOCUMENT.read_text())["paths"].items():
        for pattern, name in names.items():
            path = path.replace(pattern, name)
        documented |= {(method, path) for method in operations if method != "head"}
    assert documented - {("get", path) for path in ("/livez", "/readyz", "/metrics")} == asked


def test_the_asynchronous_client_does_the_same(api: Api, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(b"PICTURE")

    async def run() -> None:
        async with AsyncVitrine(api.url) as vitrine:
            assert (await vitrine.search(b"picture", top_k=2)).ranking == [7]
            counts = await vitrine.search_to_file(tmp_path, tmp_path / "out.jsonl", concurrency=3)
            assert (counts.done, counts.total) == (6, 6)
            api.replies = [stream(event(1, "running"), event(2, "succeeded"))]
            assert (await vitrine.jobs.wait("j1")).version == 2
            api.replies = [problem(404, "product_not_found")]
            with pytest.raises(api_errors.ProductNotFound):
                await vitrine.products.get(7)

    asyncio.run(run())
