"""The state of Qdrant in `/api/status` and in the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from harness.processes import LocalQdrant, Redis, Service, free_port
from harness.waiting import wait_until
from search_api.app import create_app
from search_api.settings import Settings


def settings_with(qdrant_url: str, folder: Path) -> Settings:
    """Only Qdrant answers."""
    return Settings(
        qdrant_url=qdrant_url,
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        embedder_url=f"http://127.0.0.1:{free_port()}",
        releases_url=f"file:{folder / 'releases'}",
        uploads_dir=folder / "uploads",
    )


def test_damaged_data_is_in_the_status_with_advice(tmp_path: Path) -> None:
    folder = tmp_path / "storage" / "collections" / "broken"
    folder.mkdir(parents=True)
    (folder / "collection.json").write_text("{")
    server = LocalQdrant(tmp_path)
    with TestClient(create_app(settings_with(server.url, tmp_path)), base_url="http://127.0.0.1") as client:
        [notice] = client.get("/api/status").json()["services"]["qdrant"]["notices"]
    server.kill()
    assert str(tmp_path / "storage" / "damaged") in notice
    assert "vitrine index --dataset" in notice


def test_a_qdrant_of_another_version_is_reported_once_in_the_log_and_in_every_status(
    older_qdrant: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_with(older_qdrant, tmp_path)
    said = ""

    def log() -> str:
        nonlocal said
        captured = capfd.readouterr()
        said += captured.out + captured.err
        return said

    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        wait_until(lambda: "qdrant_version" in log(), what="the line in the log")
        for _ in range(2):
            facts = client.get("/api/status").json()["services"]["qdrant"]
            assert (facts["up"], facts["version"]) == (True, "1.19.2")
            assert "one minor version apart" in facts["notices"][0]
    assert log().count("qdrant_version") == 1


def test_an_indexer_logs_a_qdrant_of_another_version_once_for_all_its_processes(
    older_qdrant: str, server: Redis, tmp_path: Path
) -> None:
    env = {
        "VITRINE_QDRANT_URL": older_qdrant,
        "VITRINE_REDIS_URL": server.url,
        "VITRINE_RELEASES_URL": f"file:{tmp_path / 'releases'}",
        "VITRINE_UPLOADS_DIR": str(tmp_path / "uploads"),
        "VITRINE_INDEX_PROCESSES": "2",
    }
    indexer = Service("indexer", folder=tmp_path, env=env)
    try:
        wait_until(lambda: "qdrant_version" in indexer.log.read_text(), what="the line in the log")
    finally:
        indexer.stop()
    said = [line for line in indexer.log.read_text().splitlines() if "qdrant_version" in line]
    assert len(said) == 1
    assert "one minor version apart" in said[0]
