"""The local Qdrant on a full disk: writes are refused, searches still work, and it recovers once there is space."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from harness.disks import fill, mounted_disk
from harness.processes import LocalQdrant
from vitrine.errors import VectorStoreFull
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.errors import qdrant_errors

DIM = 64
RESERVE_MB = 16
VECTORS = models.VectorParams(size=DIM, distance=models.Distance.COSINE)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk", size="96m") as folder:
        yield folder


@pytest.fixture
def server(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalQdrant]:
    monkeypatch.setenv("VITRINE_DISK_RESERVE_MB", str(RESERVE_MB))
    process = LocalQdrant(disk)
    yield process
    process.kill()


@pytest.fixture
def client(server: LocalQdrant) -> Iterator[QdrantClient]:
    connection = open_qdrant(server.url)
    connection.create_collection("shop", vectors_config=VECTORS)
    yield connection
    connection.close()


def upsert(client: QdrantClient, start: int, *, count: int = 200) -> None:
    generator = random.Random(start)
    batch = models.Batch(
        ids=list(range(start, start + count)),
        vectors=[[generator.gauss(0, 1) for _ in range(DIM)] for _ in range(count)],
        payloads=[{"text": "x" * 2_000} for _ in range(count)],
    )
    with qdrant_errors("shop"):
        client.upsert("shop", batch, wait=True)


def upsert_until_full(client: QdrantClient) -> int:
    """Write points until one is refused. Returns the number of stored points."""
    for start in range(0, 1_000_000, 200):
        try:
            upsert(client, start)
        except VectorStoreFull:
            return start
    raise AssertionError("the disk was never full")


def test_a_full_disk_refuses_writes_and_loses_nothing(server: LocalQdrant, client: QdrantClient, disk: Path) -> None:
    stored = upsert_until_full(client)
    assert stored >= 1_000
    assert server.running()
    filling = fill(disk)  # including the reserve, as another program might
    for attempt in (
        lambda: upsert(client, stored),
        lambda: client.create_collection("more", vectors_config=VECTORS),
        lambda: client.set_payload("shop", {"text": "y"}, points=[1], wait=True),
        lambda: client.delete("shop", points_selector=[1], wait=True),
        lambda: client.create_payload_index("shop", "text", field_schema=models.PayloadSchemaType.KEYWORD, wait=True),
    ):
        with pytest.raises(VectorStoreFull, match=rf"{disk}/storage has 0 MiB left.*VITRINE_DISK_RESERVE_MB"):  # noqa: SIM117
            with qdrant_errors("shop"):
                attempt()
    assert client.count("shop", exact=True).count == stored
    assert len(client.query_points("shop", query=stored - 1, limit=5).points) == 5
    filling.unlink()
    client.delete("shop", points_selector=[0], wait=True)
    assert client.count("shop", exact=True).count == stored - 1


def test_a_server_killed_on_a_full_disk_serves_again(server: LocalQdrant, client: QdrantClient, disk: Path) -> None:
    stored = upsert_until_full(client)
    fill(disk)
    server.kill()
    server.start()
    server.wait_ready()
    assert client.count("shop", exact=True).count == stored
    with pytest.raises(VectorStoreFull):
        upsert(client, stored)
    assert server.terminate() == 0
