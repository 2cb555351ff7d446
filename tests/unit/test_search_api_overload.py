"""Callers that ignore Retry-After, callers that disconnect, and the work that is left to the embedder."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from search_api.auth import Patience
from vitrine.errors import EmbedderBusyWithHeavyWork, EmbedderOverloaded, VitrineError
from vitrine.web import StopWhenGone, install_problem_handlers


def refusing_app(error: VitrineError, seen: list[str], clock: Any) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/api/search")
    async def search() -> None:
        seen.append("asked")
        raise error

    app.add_middleware(Patience, wanted=lambda _method, path: path == "/api/search", clock=clock)
    return app


def client_of(app: FastAPI, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://test")


def test_a_caller_that_ignores_retry_after_is_refused_after_a_pause_and_without_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s, pauses, seen = [100.0], [], []  # type: ignore[var-annotated]

    async def pause(wait_s: float) -> None:
        pauses.append(wait_s)

    app = refusing_app(EmbedderOverloaded("full", retry_after_s=1.0), seen, lambda: now_s[0])

    async def scenario() -> None:
        async with client_of(app, "10.0.0.1") as greedy, client_of(app, "10.0.0.2") as modest:
            monkeypatch.setattr("search_api.auth.asyncio.sleep", pause)
            first, again = await greedy.post("/api/search"), await greedy.post("/api/search")
            assert (first.status_code, again.status_code) == (503, 503)
            assert again.json()["code"] == "embedder_overloaded"
            assert int(again.headers["retry-after"]) >= 1
            assert seen == ["asked"]
            assert len(pauses) == 1
            assert 0 < pauses[0] <= 1
            await modest.post("/api/search")
            assert len(seen) == 2, "another caller is asked for"
            now_s[0] += 2
            await greedy.post("/api/search")
            assert len(seen) == 3, "who has waited is asked for"

    asyncio.run(scenario())


def test_a_full_pool_of_heavy_calls_blocks_no_other_calls() -> None:
    seen: list[str] = []
    app = refusing_app(EmbedderBusyWithHeavyWork("full", retry_after_s=1.0), seen, lambda: 100.0)

    async def scenario() -> None:
        async with client_of(app, "10.0.0.1") as client:
            for _ in range(3):
                await client.post("/api/search")

    asyncio.run(scenario())
    assert len(seen) == 3


def test_a_request_whose_caller_disconnected_is_stopped() -> None:
    async def scenario() -> None:
        started, stopped, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def working(_scope: Any, receive: Any, _send: Any) -> None:
            assert (await receive())["body"] == b"picture"
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        messages = iter([{"type": "http.request", "body": b"picture", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in messages:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_message: Any) -> None:
            raise AssertionError("nobody is there to answer to")

        app = StopWhenGone(working, applies=lambda _method, path: path == "/search")
        scope = {"type": "http", "method": "POST", "path": "/search"}
        request = asyncio.create_task(app(scope, receive, send))
        await asyncio.wait_for(started.wait(), 10)
        gone.set()
        await asyncio.wait_for(request, 10)
        assert stopped.is_set()

    asyncio.run(scenario())


def test_a_caller_that_stays_connected_gets_its_answer() -> None:
    app = FastAPI()

    @app.post("/search")
    async def search() -> dict[str, bool]:
        return {"success": True}

    app.add_middleware(StopWhenGone, applies=lambda _method, _path: True)

    async def scenario() -> None:
        async with client_of(app, "10.0.0.1") as client:
            assert (await client.post("/search", content=b"picture")).json() == {"success": True}

    asyncio.run(scenario())


def test_the_search_api_imports_no_image_decoder() -> None:
    program = "import sys, search_api.app; print([name for name in ('PIL', 'cv2', 'torch') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == "[]"
