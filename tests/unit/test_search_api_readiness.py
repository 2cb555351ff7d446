"""The search API's readiness includes its dependencies, and a hung embedder does not block callers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest

from harness.embedder import Embedder
from harness.pictures import encoded, gradient
from harness.processes import Redis, free_port
from harness.waiting import HUNG_AFTER_S
from search_api.app import create_app
from search_api.settings import Settings
from search_api.status.dependencies import FAILURES_TO_BE_AWAY, Dependency, ask_embedder, ask_qdrant
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import EmbedderSilent
from vitrine.qdrant.nodes import Nodes

NOWHERE = "http://127.0.0.1:9"  # no server listens there


@contextmanager
def answering(status: int, body: bytes = b"{}") -> Iterator[str]:
    """The address of a server with this answer to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def asked(ask: Callable[[httpx.AsyncClient], Callable[[], Awaitable[str | None]]]) -> str | None:
    async def once() -> str | None:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await ask(client)()

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (200, b"{}", None),
        (503, b'{"alive": true, "queue_full": true, "last_failure": null}', None),
        (503, b'{"alive": true, "queue_full": false, "last_failure": "embedding_failed"}', "not ready, status 503"),
        (503, b"<html>no embedder</html>", "not ready, status 503"),
    ],
)
def test_an_embedder_counts_as_working_if_only_its_queue_is_full(status: int, body: bytes, missing: str | None) -> None:
    with answering(status, body) as url:
        assert asked(lambda client: ask_embedder(client, url)) == missing


def test_a_slow_embedder_that_just_answered_a_search_is_busy_and_not_hung() -> None:
    assert asked(lambda client: ask_embedder(client, NOWHERE, lambda _seconds: True)) is None
    with pytest.raises(httpx.ConnectError):
        asked(lambda client: ask_embedder(client, NOWHERE, lambda _seconds: False))


@pytest.mark.parametrize(("status", "missing"), [(200, None), (403, None), (500, "not ready, status 500")])
def test_a_qdrant_that_answers_can_be_reached(status: int, missing: str | None) -> None:
    with answering(status) as url:
        assert asked(lambda client: ask_qdrant(client, Nodes(url))) == missing


def test_a_dependency_is_unavailable_after_three_failures_in_a_row_and_back_with_one_answer() -> None:
    answers: list[str | None] = [None, "slow", "slow", None, "slow", "slow", "slow", "slow", None]

    async def ask() -> str | None:
        return answers.pop(0)

    async def seen() -> list[bool]:
        dependency = Dependency("embedder", ask)
        up = [dependency.up]
        while answers:
            await dependency.ask()
            up.append(dependency.up)
        return up

    assert FAILURES_TO_BE_AWAY == 3
    assert asyncio.run(seen()) == [False, True, True, True, True, True, True, False, False, True]


def readiness_of(settings: Settings) -> tuple[int, dict[str, object]]:
    """Status and body of /readyz after every dependency was checked."""

    async def asked_all() -> tuple[int, dict[str, object]]:
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        ):
            async with asyncio.timeout(30):
                while True:
                    answer = await client.get("/readyz")
                    if "not checked yet" not in answer.text:
                        return answer.status_code, answer.json()
                    await asyncio.sleep(0.02)

    return asyncio.run(asked_all())


def test_readiness_names_the_unavailable_dependency_and_since_when(server: Redis) -> None:
    with answering(200) as up:
        ready = readiness_of(Settings(embedder_url=up, qdrant_url=up, redis_url=server.url))
        no_embedder = readiness_of(Settings(embedder_url=NOWHERE, qdrant_url=up, redis_url=server.url))
        no_redis = readiness_of(
            Settings(embedder_url=up, qdrant_url=up, redis_url=f"redis://:hush@127.0.0.1:{free_port()}/0")
        )
    every_part = {"embedder": {"up": True}, "qdrant": {"up": True}, "redis": {"up": True}}
    assert ready == (200, {"status": "ready", "draining": False, "needs": every_part})
    status, body = no_embedder
    assert (status, body["status"]) == (503, "degraded")
    needs = body["needs"]
    assert isinstance(needs, dict)
    assert needs["embedder"].keys() == {"up", "since", "reason"}
    assert needs["qdrant"] == {"up": True}
    status, body = no_redis
    assert (status, body["status"]) == (200, "degraded"), "searches go on without Redis"
    assert "hush" not in str(body)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    service = Embedder(tmp_path_factory.mktemp("embedder"))
    yield service
    service.kill()


def test_calls_to_a_hung_embedder_are_refused_quickly(embedder: Embedder) -> None:
    async def call() -> tuple[EmbedderSilent, EmbedderSilent]:
        silent = asyncio.Event()
        client = AsyncEmbedderClient(embedder.url, silent=silent)
        picture = encoded(gradient(64, 64), "PNG")
        await client.embed(picture, release_id=embedder.release)
        async with httpx.AsyncClient(trust_env=False) as probe:
            dependency = Dependency("embedder", ask_embedder(probe, embedder.url), silent=silent)
            asking = asyncio.create_task(dependency.run())
            os.killpg(embedder.pid, signal.SIGSTOP)
            # The call is running when the embedder is found to hang. Its own deadline is another error, and much later.
            with pytest.raises(EmbedderSilent) as waiting:
                await client.embed(picture, release_id=embedder.release, deadline_s=HUNG_AFTER_S)
            with pytest.raises(EmbedderSilent) as new:
                await client.embed(picture, release_id=embedder.release, deadline_s=HUNG_AFTER_S)
            os.killpg(embedder.pid, signal.SIGCONT)
            asking.cancel()
            while not dependency.up:
                await dependency.ask()
            await client.embed(picture, release_id=embedder.release)
        await client.aclose()
        return waiting.value, new.value

    for error in asyncio.run(call()):
        assert (error.status, error.retryable, error.code) == (503, True, "embedder_unavailable")
        assert error.retry_after_s is not None
