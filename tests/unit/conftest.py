"""What unit tests share: a Redis and a small disk for those that need one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=1m") != 0:
        pytest.skip(f"a small disk cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount(str(folder).encode())
