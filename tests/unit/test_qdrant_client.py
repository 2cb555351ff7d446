"""The Qdrant clients: where they are created, their requests, and how Qdrant's errors and versions are reported."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from harness.processes import LocalQdrant, free_port
from vitrine.errors import (
    CollectionNotFound,
    FilterInvalid,
    VectorStoreFull,
    VectorStoreRefused,
    VectorStoreUnavailable,
    VitrineError,
)
from vitrine.qdrant.client import open_async_qdrant, open_qdrant, version_notice
from vitrine.qdrant.errors import qdrant_errors, unless_exists

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("shared", "services", "local", "benchmarks", "tools")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQdrant]:
    process = LocalQdrant(tmp_path_factory.mktemp("qdrant"))
    yield process
    process.kill()


def makes_a_client(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(getattr(call.func, "id", "") in {"QdrantClient", "AsyncQdrantClient"} for call in calls)


def test_clients_are_made_in_one_place() -> None:
    files = [path for folder in SOURCES for path in (REPOSITORY / folder).rglob("*.py")]
    made_in = {path.relative_to(REPOSITORY).as_posix() for path in files if makes_a_client(path)}
    assert made_in == {"shared/vitrine/qdrant/client.py"}


def test_every_client_requests_uncompressed_answers(server: LocalQdrant) -> None:
    answers: list[httpx.Response] = []
    client = open_qdrant(server.url)
    client.http.client.add_middleware(lambda request, send: answers.append(send(request)) or answers[-1])  # type: ignore[func-returns-value]
    client.get_collections()
    client.close()

    async def ask() -> None:
        async with httpx.AsyncClient() as plain:
            answers.append(await plain.get(f"{server.url}/collections"))
        connection = open_async_qdrant(server.url)

        async def seen(request: httpx.Request, send: object) -> httpx.Response:
            answers.append(await send(request))  # type: ignore[operator]
            return answers[-1]

        connection.http.client.add_middleware(seen)
        await connection.get_collections()
        await connection.close()

    asyncio.run(ask())
    asked_for = [answer.request.headers["accept-encoding"] for answer in answers]
    assert [asked_for[0], asked_for[2]] == ["identity", "identity"]
    assert [answer.headers.get("content-encoding") for answer in answers] == [None, "gzip", None]


def test_connections_are_kept_between_calls(server: LocalQdrant) -> None:
    client = open_qdrant(server.url)
    streams: set[int] = set()

    def seen(request: httpx.Request, send: object) -> httpx.Response:
        answer: httpx.Response = send(request)  # type: ignore[operator]
        streams.add(id(answer.extensions["network_stream"].get_extra_info("socket")))
        return answer

    client.http.client.add_middleware(seen)
    for _ in range(3):
        client.get_collections()
    client.close()
    assert len(streams) == 1


@pytest.mark.parametrize("key", ["a key", SecretStr("a key")])
def test_a_key_is_sent_with_every_call_and_causes_no_warning(key: str | SecretStr) -> None:
    client = open_qdrant("http://127.0.0.1:1", api_key=key)  # a warning is an error in tests
    requests: list[httpx.Request] = []

    def seen(request: httpx.Request, _: object) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"result": {"collections": []}, "status": "ok", "time": 0.0})

    client.http.client.add_middleware(seen)
    client.get_collections()
    client.close()
    assert requests[0].headers["api-key"] == "a key"


def answered(status: int, error: str = "Wrong input: no") -> Exception:
    return UnexpectedResponse.for_response(httpx.Response(status, json={"status": {"error": error}}))


@pytest.mark.parametrize(
    ("raised", "expected", "retryable"),
    [
        (answered(404), CollectionNotFound, False),
        (answered(400), FilterInvalid, False),
        (answered(403), VectorStoreRefused, False),
        (answered(501), VectorStoreRefused, False),
        (answered(429), VectorStoreUnavailable, True),
        (answered(500), VectorStoreUnavailable, True),
        (answered(500, "Service internal error: No space left on device: /q is full"), VectorStoreFull, True),
        (ResponseHandlingException(ConnectionRefusedError()), VectorStoreUnavailable, True),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_errors_of_qdrant_become_vitrine_errors(
    raised: Exception, expected: type[VitrineError], retryable: bool
) -> None:
    with pytest.raises(VitrineError) as failure, qdrant_errors("shop--a-0123456789", filtered=True):
        raise raised
    assert type(failure.value) is expected
    assert failure.value.retryable is retryable


def test_a_full_disk_of_qdrant_is_reported_with_its_message() -> None:
    full = answered(500, "Service internal error: No space left on device: /data/qdrant has 3 MiB left")
    with pytest.raises(VectorStoreFull, match=r"/data/qdrant has 3 MiB left$"), qdrant_errors():
        raise full


def test_a_collection_that_another_process_created_first_is_accepted() -> None:
    with unless_exists():
        raise answered(409, "Wrong input: Collection `a` already exists!")
    with pytest.raises(UnexpectedResponse), unless_exists():
        raise answered(400)


def test_an_address_without_a_server_is_reported_as_unavailable() -> None:
    client = open_qdrant(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(VectorStoreUnavailable, match="cannot be reached"), qdrant_errors():
        client.get_collections()
    client.close()


@pytest.mark.parametrize(
    ("server_version", "said"),
    [
        ("1.20.3", None),
        ("1.19.0", "one minor version apart"),
        ("1.21.0-dev", "one minor version apart"),
        ("1.18.0", "not supported"),
        ("2.20.0", "not supported"),
        ("unknown", "cannot be read"),
    ],
)
def test_a_server_with_another_minor_version_is_reported(server_version: str, said: str | None) -> None:
    notice = version_notice(server_version, client="1.20.0")
    assert notice is None if said is None else said in str(notice)
