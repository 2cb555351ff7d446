"""Fixtures of the unit tests: a Redis, a small disk, and a server that gives chosen replies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from harness.disks import mounted_disk
from harness.processes import Process, Redis, free_port
from harness.replying_api import Api, running_api
from vitrine.jobs import open_redis

# The local Qdrant with another version number.
OLDER = """
import vitrine_local.qdrant.app as app
app.QDRANT_VERSION = "1.19.2"
from vitrine_local.qdrant.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    process = Redis(tmp_path_factory.mktemp("redis"))
    yield process
    process.kill()


@pytest.fixture
def client(server: Redis) -> Iterator[redis.Redis]:
    connection = open_redis(server.url)
    connection.flushdb()
    yield connection
    connection.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    with mounted_disk(tmp_path / "disk", size="1m") as disk:
        yield disk


@pytest.fixture
def older_qdrant(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-c", OLDER, "--storage", str(tmp_path / "storage"), "--port", str(port)]
    process = Process(command, log=tmp_path / "qdrant.log")
    process.wait_http(f"http://127.0.0.1:{port}/readyz")
    yield f"http://127.0.0.1:{port}"
    process.kill()


@pytest.fixture
def api() -> Iterator[Api]:
    with running_api() as api:
        yield api
