"""What the Python client sends and how it reads answers, against a small HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.replying_api import ANSWER, Api, Call, Reply, event, form, job, problem, stream
from tools.client_models import DOCUMENT
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
    TimedOut,
    Upload,
    Vitrine,
    api_errors,
)
from vitrine_client.filters import filter_pairs
from vitrine_client.models import JOB_KINDS, IndexParams, Recipe


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


def test_a_schedule_is_sent_and_changes_are_read_by_line() -> None:
    sent: list[tuple[str, str, bytes]] = []
    lines = b'{"id":"7","change":"added"}\n{"id":"a b","change":"removed"}\n'

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append((request.method, str(request.url), request.content))
        if request.url.path.endswith("/changes"):
            return httpx.Response(200, content=lines, headers={"Content-Type": "application/x-ndjson"})
        return httpx.Response(500, json={"code": "internal_error", "detail": "x"})

    with Vitrine("http://shop", transport=httpx.MockTransport(answer)) as vitrine:
        with pytest.raises(ApiError):
            vitrine.datasets.schedule("d", "6h", full=True)
        assert list(vitrine.jobs.changes("J", kind="added")) == [("7", "added"), ("a b", "removed")]
        lines = b'{"id":"7"}\n'
        with pytest.raises(AnswerInvalid, match="changes"):
            list(vitrine.jobs.changes("J"))
    assert sent[0][:2] == ("PUT", "http://shop/api/datasets/d/schedule")
    assert json.loads(sent[0][2]) == {"every": "6h", "full": True, "model": None, "allowRemoval": False}
    assert sent[1][:2] == ("GET", "http://shop/api/jobs/J/changes?kind=added")


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
            lambda: vitrine.upload(b"x"), lambda: vitrine.regions(b"x"), lambda: vitrine.picture("/api/images/P"),
            lambda: vitrine.picture("/api/uploads/U"), lambda: vitrine.products.get("P"),
            lambda: vitrine.products.put("P", b"x"), lambda: vitrine.products.delete("P"),
            lambda: vitrine.products.restore("P"), lambda: vitrine.products.variants("P"),
            lambda: vitrine.datasets.deleted("D"),
            lambda: vitrine.datasets.get("D"), lambda: vitrine.datasets.schedule("D", "6h"),
            lambda: vitrine.datasets.unschedule("D"), lambda: vitrine.jobs.changes("J"),
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
