"""The Qdrant servers under test: the local one, and the real one if it is configured or Docker has its image."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient, models

from harness.circle import DIM, points
from harness.containers import QDRANT_IMAGE, QdrantBackend, require_image
from harness.processes import LocalQdrant
from harness.servers import given_qdrant
from vitrine.qdrant.client import open_qdrant


@pytest.fixture(scope="session", params=["local", "server"])
def qdrant_backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantBackend]:
    folder = tmp_path_factory.mktemp("qdrant")
    if request.param == "local":
        process = LocalQdrant(folder)
        yield QdrantBackend("local", process.url)
        process.kill()
        return
    given = given_qdrant(folder)
    if given is not None:
        yield QdrantBackend("server", given.url)
        given.stop()
        return
    image = require_image(QDRANT_IMAGE)
    from testcontainers.qdrant import QdrantContainer

    with QdrantContainer(image) as container:
        yield QdrantBackend("server", f"http://{container.get_container_host_ip()}:{container.get_exposed_port(6333)}")


@pytest.fixture(scope="session")
def qdrant(qdrant_backend: QdrantBackend) -> Iterator[QdrantClient]:
    connection = open_qdrant(qdrant_backend.url)
    yield connection
    connection.close()


@pytest.fixture
def empty(qdrant: QdrantClient) -> Iterator[str]:
    """A collection without points, with strict mode and payload indexes as Vitrine creates them."""
    name = f"contract.{uuid.uuid4().hex}"
    qdrant.create_collection(
        name,
        vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE),
        strict_mode_config=models.StrictModeConfig(
            enabled=True, max_query_limit=100, unindexed_filtering_retrieve=False, filter_max_conditions=10
        ),
        metadata={"vitrine": 1, "state": "building"},
    )
    for field, kind in (
        ("gender", models.PayloadSchemaType.KEYWORD),
        ("season", models.PayloadSchemaType.KEYWORD),
        ("tags", models.PayloadSchemaType.KEYWORD),
        ("note", models.PayloadSchemaType.KEYWORD),
        ("year", models.PayloadSchemaType.INTEGER),
        ("price", models.PayloadSchemaType.FLOAT),
        ("sale", models.PayloadSchemaType.BOOL),
        ("added", models.PayloadSchemaType.DATETIME),
        ("paths_.category", models.PayloadSchemaType.KEYWORD),
        ("größe", models.PayloadSchemaType.KEYWORD),
    ):
        qdrant.create_payload_index(name, field, field_schema=kind, wait=True)
    yield name
    qdrant.delete_collection(name)


@pytest.fixture
def collection(qdrant: QdrantClient, empty: str) -> str:
    """The same with its points."""
    assert qdrant.upsert(empty, points=points(), wait=True).status == models.UpdateStatus.COMPLETED
    return empty
