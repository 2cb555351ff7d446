"""The Qdrant for the tests: the local one, or a real server that the environment names.

    VITRINE_TEST_QDRANT_PROGRAM  path of a Qdrant program, which is started, killed and restarted
    VITRINE_TEST_QDRANT_URL      address of a running server that only tests use: its Vitrine collections are removed
    VITRINE_TEST_REDIS_PROGRAM   path of a redis-server or valkey-server (`harness.processes.Redis`)

Tests that kill a server are skipped if only its address is known.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.processes import LocalQdrant, Process, free_port
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.naming import parse_collection_name

QDRANT_PROGRAM = "VITRINE_TEST_QDRANT_PROGRAM"
QDRANT_URL = "VITRINE_TEST_QDRANT_URL"


class QdrantProgram(Process):
    """A Qdrant program on its own folder, configured through Qdrant's variables."""

    def __init__(self, folder: Path, program: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(port),
            "QDRANT__SERVICE__GRPC_PORT": str(free_port()),
            "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
            "QDRANT__TELEMETRY_DISABLED": "true",
        }
        super().__init__([program], log=folder / "qdrant.log", env=settings, cwd=folder)
        self.wait_ready()

    def wait_ready(self) -> None:
        self.wait_http(f"{self.url}/readyz")


class QdrantAtUrl:
    """A running Qdrant server that the tests may not kill."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.wait_ready()
        self._remove_collections()

    def wait_ready(self) -> None:
        """Nothing to wait for: the server runs before the tests."""

    def start(self) -> None:
        self.kill()

    def kill(self) -> None:
        pytest.skip(f"a server given by its address is not killed; {QDRANT_PROGRAM} makes this test run")

    def stop(self) -> None:
        self._remove_collections()

    def _remove_collections(self) -> None:
        client = open_qdrant(self.url)
        for collection in client.get_collections().collections:
            if parse_collection_name(collection.name):
                client.delete_collection(collection.name)
        client.close()


Qdrant = LocalQdrant | QdrantProgram | QdrantAtUrl


def given_qdrant(folder: Path) -> QdrantProgram | QdrantAtUrl | None:
    """The real server that the environment names, or None."""
    if url := os.environ.get(QDRANT_URL):
        return QdrantAtUrl(url)
    if program := os.environ.get(QDRANT_PROGRAM):
        return QdrantProgram(folder, program)
    return None


def open_test_qdrant(folder: Path) -> Qdrant:
    """The server that the environment names, or else the local Qdrant with its files below `folder`."""
    return given_qdrant(folder) or LocalQdrant(folder)
