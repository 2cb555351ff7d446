"""The middleware of both HTTP services: body limit, API keys, request ids and error format."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, File, Request, UploadFile
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from starlette.types import ASGIApp

from vitrine.errors import BodyTooLarge, EmbedderOverloaded, ImageRejected, SettingsInvalid, VitrineError
from vitrine.telemetry import HttpMetrics
from vitrine.web import (
    ApiKeys,
    BodyLimit,
    KeyRing,
    RequestContext,
    declared_routes,
    document_router,
    health_router,
    install_problem_handlers,
    parse_api_keys,
    problem_responses,
    requires,
)
from vitrine.web.problems import problem_response

SECRET = "a-long-random-key"
KEYS = f"shop:search:{hashlib.sha256(SECRET.encode()).hexdigest()}"


class Order(BaseModel):
    count: int


def build_app() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_problem_handlers(app)
    app.include_router(document_router())
    app.include_router(health_router(registry=CollectorRegistry(), readiness=lambda: (False, {"reason": "warming up"})))

    @app.post("/echo", responses=problem_responses(BodyTooLarge))
    @requires("search")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.post("/upload")
    @requires("ingest")
    async def upload(image: Annotated[UploadFile, File()], count: int) -> int:
        return len(await image.read()) + count

    @app.post("/orders")
    @requires("ingest")
    async def orders(order: Order) -> int:
        return order.count

    @app.get("/busy")
    @requires("search")
    async def busy() -> None:
        raise EmbedderOverloaded("the queue is full", retry_after_s=1.2)

    @app.get("/rejected")
    @requires("search")
    async def rejected() -> None:
        raise ImageRejected("truncated", "the picture ends too early")

    @app.get("/defect")
    @requires("search")
    async def defect() -> None:
        raise RuntimeError("secret detail")

    return app


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://test")


async def stream(total_bytes: int, *, head: bytes = b"") -> AsyncIterator[bytes]:
    if head:
        yield head
    for _ in range(total_bytes // 100):
        yield b"x" * 100


def run(coroutine: object) -> None:
    import asyncio

    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_a_body_at_the_limit_passes_and_one_byte_more_is_refused() -> None:
    async def check() -> None:
        async with client_of(BodyLimit(build_app(), max_body_bytes=100)) as client:
            assert (await client.post("/echo", content=b"x" * 100)).json() == 100
            refused = await client.post("/echo", content=b"x" * 101)
            assert refused.status_code == 413
            assert refused.json()["code"] == "body_too_large"
            assert refused.json()["success"] is False

    run(check())


def test_a_body_without_a_length_is_counted_and_refused() -> None:
    async def check() -> None:
        async with client_of(BodyLimit(build_app(), max_body_bytes=1000)) as client:
            assert (await client.post("/echo", content=stream(1000))).json() == 1000
            assert (await client.post("/echo", content=stream(5000))).status_code == 413
            # The framework reads forms, and would answer 400 when reading is interrupted.
            headers = {"content-type": "multipart/form-data; boundary=b"}
            part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
            upload = await client.post("/upload?count=1", content=stream(5000, head=part), headers=headers)
            assert upload.status_code == 413

    run(check())


def test_a_call_without_a_key_is_refused_before_its_body_is_read() -> None:
    read_bytes = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read_bytes
        async for part in stream(10_000):
            read_bytes += len(part)
            yield part

    async def check() -> None:
        inner = build_app()
        app = ApiKeys(inner, ring=KeyRing(parse_api_keys(KEYS)), routes=declared_routes(inner))
        async with client_of(app) as client:
            refused = await client.post("/echo", content=counted())
            assert (refused.status_code, refused.json()["code"]) == (401, "key_missing")
            assert refused.headers["www-authenticate"] == "Bearer"
            assert read_bytes == 0

    run(check())


def test_a_key_opens_its_scope_only() -> None:
    async def check() -> None:
        inner = build_app()
        app = ApiKeys(inner, ring=KeyRing(parse_api_keys(KEYS)), routes=declared_routes(inner))
        async with client_of(app) as client:
            for headers in ({"authorization": f"Bearer {SECRET}"}, {"x-api-key": SECRET}):
                assert (await client.post("/echo", content=b"abc", headers=headers)).json() == 3
                refused = await client.post("/orders", json={"count": 1}, headers=headers)
                assert (refused.status_code, refused.json()["code"]) == (403, "key_refused")
            assert (await client.post("/echo", headers={"x-api-key": "wrong"})).status_code == 403
            assert (await client.get("/livez")).status_code == 200

    run(check())


@pytest.mark.parametrize("text", ["shop", "shop:search:abc", f"shop:fly:{'0' * 64}", f"shop::{'0' * 64}"])
def test_a_malformed_key_entry_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        parse_api_keys(text)
    assert "0000" not in caught.value.detail


def test_errors_answer_as_problem_details() -> None:
    async def check() -> None:
        async with client_of(build_app()) as client:
            busy = await client.get("/busy")
            assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")
            assert busy.headers["content-type"] == "application/problem+json"
            assert busy.json()["retryable"] is True
            rejected = await client.get("/rejected")
            assert (rejected.status_code, rejected.json()["code"]) == (400, "image_truncated")
            assert (await client.get("/nowhere")).json()["code"] == "not_found"
            assert (await client.put("/busy")).json()["code"] == "method_not_allowed"
            bad_parameter = await client.post("/upload?count=x", files={"image": b"abc"})
            assert (bad_parameter.status_code, bad_parameter.json()["code"]) == (400, "parameter_invalid")
            bad_json = await client.post("/orders", content=b"{", headers={"content-type": "application/json"})
            assert (bad_json.status_code, bad_json.json()["code"]) == (422, "body_invalid")
            bad_schema = await client.post("/orders", json={"count": "x"})
            assert (bad_schema.status_code, bad_schema.json()["code"]) == (422, "body_invalid")
            defect = await client.get("/defect")
            assert (defect.status_code, defect.json()["code"]) == (500, "internal_error")
            assert "secret" not in defect.text

    run(check())


def test_readiness_reports_why_it_is_not_ready() -> None:
    async def check() -> None:
        async with client_of(build_app()) as client:
            unready = await client.get("/readyz")
            assert (unready.status_code, unready.json()) == (503, {"status": "unready", "reason": "warming up"})
            assert unready.headers["retry-after"] == "1"

    run(check())


def errors_below(kind: type[VitrineError]) -> Iterator[type[VitrineError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from errors_below(below)


@pytest.mark.parametrize("kind", [kind for kind in errors_below(VitrineError) if kind.status in (429, 503, 504)])
def test_every_temporary_refusal_has_a_retry_after(kind: type[VitrineError]) -> None:
    assert int(problem_response(kind("for a reason")).headers["retry-after"]) >= 1


def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced() -> None:
    async def check() -> None:
        registry = CollectorRegistry()
        app = RequestContext(build_app(), metrics=HttpMetrics(registry))
        async with client_of(app) as client:
            kept = await client.get("/livez", headers={"x-request-id": "abcdef-123456"})
            assert kept.headers["x-request-id"] == "abcdef-123456"
            made = await client.get("/livez", headers={"x-request-id": "bad id\twith space"})
            assert made.headers["x-request-id"] != "bad id\twith space"
            assert (await client.get("/defect")).status_code == 500
        labels = {"method": "GET", "route": "/livez", "status": "200"}
        assert registry.get_sample_value("vitrine_http_requests_total", labels) == 2.0

    run(check())


def test_the_openapi_document_has_the_problem_schema_instead_of_that_of_the_framework() -> None:
    document = build_app().openapi()
    assert "Problem" in document["components"]["schemas"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "422" not in document["paths"]["/orders"]["post"]["responses"]
    assert "413" in document["paths"]["/echo"]["post"]["responses"]
