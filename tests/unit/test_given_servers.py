"""The tests can use configured servers, given as the path of a program or as a URL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from harness.processes import REDIS_PROGRAM, LocalQdrant, Redis
from harness.servers import QDRANT_PROGRAM, QDRANT_URL, QdrantAtUrl, QdrantProgram, open_test_qdrant
from vitrine.qdrant.client import create_collection, open_qdrant
from vitrine.qdrant.schema import CollectionMetadata
from vitrine_local.redis_server import find_redis_server

# The local Qdrant, configured with the variables of the real one.
QDRANT_SCRIPT = f"""#!/bin/sh
exec {sys.executable} -m vitrine_local.qdrant --storage "$QDRANT__STORAGE__STORAGE_PATH" \\
  --host "$QDRANT__SERVICE__HOST" --port "$QDRANT__SERVICE__HTTP_PORT"
"""
SHOP = CollectionMetadata("shop", "tiny", "tiny-0123456789", catalog="folder", root="/shop", state="building")


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantProgram]:
    monkeypatch.setenv(QDRANT_PROGRAM, script(tmp_path / "qdrant", QDRANT_SCRIPT))
    server = open_test_qdrant(tmp_path / "server")
    assert isinstance(server, QdrantProgram)
    yield server
    server.stop()


def test_a_qdrant_program_is_started_killed_and_restarted(given: QdrantProgram) -> None:
    client = open_qdrant(given.url)
    name = create_collection(client, SHOP, dim=2, kinds={})
    given.kill()
    given.start()
    given.wait_ready()
    assert client.collection_exists(name)
    client.close()


def test_a_qdrant_address_is_used_emptied_and_never_killed(
    given: QdrantProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = open_qdrant(given.url)
    name = create_collection(client, SHOP, dim=2, kinds={})
    monkeypatch.setenv(QDRANT_URL, given.url)
    at_url = open_test_qdrant(tmp_path / "unused")
    assert isinstance(at_url, QdrantAtUrl)
    assert not client.collection_exists(name)
    with pytest.raises(pytest.skip.Exception, match=QDRANT_PROGRAM):
        at_url.kill()
    at_url.stop()
    assert given.running()
    client.close()


def test_without_either_the_local_qdrant_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (QDRANT_PROGRAM, QDRANT_URL):
        monkeypatch.delenv(name, raising=False)
    server = open_test_qdrant(tmp_path)
    assert isinstance(server, LocalQdrant)
    server.stop()


def test_a_redis_program_is_started_killed_and_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    program = script(tmp_path / "redis", f'#!/bin/sh\necho >> {started}\nexec {find_redis_server()} "$@"\n')
    monkeypatch.setenv(REDIS_PROGRAM, program)
    server = Redis(tmp_path / "server")
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", 1)
        server.kill()
        server.start()
        server.wait_ready()
        assert client.get("kept") == b"1"
    server.kill()
    assert started.read_text() == "\n\n"
