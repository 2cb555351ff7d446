"""The system while Qdrant's disk is full: writes get status 507, searches still work, and jobs wait for space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.disks import fill, mounted_disk
from harness.processes import LocalQdrant
from harness.shop import Shop, running_shop
from harness.waiting import wait_until
from vitrine.jobs import JobState

RESERVE_MB = 16


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "system").mkdir()
    with mounted_disk(tmp_path / "system" / "qdrant", size="160m") as folder:
        yield folder


@pytest.fixture
def shop(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("VITRINE_DISK_RESERVE_MB", str(RESERVE_MB))
    with running_shop(disk.parent, products=24) as shop:
        if not isinstance(shop.system.qdrant, LocalQdrant):
            pytest.skip("only the local Qdrant's folder is on the small disk")
        yield shop


def test_on_a_full_disk_writes_are_refused_searches_work_and_jobs_resume_with_space(shop: Shop, disk: Path) -> None:
    product = next(iter(shop.rows))
    filling = fill(disk)

    def put() -> tuple[int, str]:
        answer = shop.api.put(
            "/api/products/new",
            files={"image": shop.picture(product)},
            data={"gender": "Men"},
            params={"dataset": "drawn"},
        )
        return answer.status_code, answer.text

    status, said = put()
    assert status == 507, said
    assert f"{disk}/storage has 0 MiB left" in said
    assert "VITRINE_DISK_RESERVE_MB" in said
    assert shop.search(product)["ranking"][0] == int(product)
    other = shop.system.release(weights="seed:7")
    job = shop.start_index(release_id=other)["id"]
    indexer = shop.system.services["indexer"]
    wait_until(lambda: '"code": "vector_store_full"' in indexer.tail(chars=100_000), what="the job waits")
    assert shop.system.jobs.get(job).state is JobState.RUNNING
    assert shop.api.get("/api/status").json()["services"]["qdrant"]["up"]
    filling.unlink()
    shop.system.succeeded(job)
    assert put()[0] == 200
    assert shop.system.serving() == shop.system.collection(other)
