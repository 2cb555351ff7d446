"""What unit tests share: a Redis for those that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

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
