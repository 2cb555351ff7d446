"""What unit tests share: a Redis and a small disk for those that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from harness.disks import mounted_disk
from harness.processes import Redis
from vitrine.jobs import open_redis


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
