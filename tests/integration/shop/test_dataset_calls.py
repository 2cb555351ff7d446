"""Datasets are listed and dropped, and the deletion of a product is undone: over HTTP and on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.releases import picture
from harness.shop import DATASET, PRODUCTS, Shop
from harness.waiting import wait_until
from vitrine.jobs import JobKind, open_redis
from vitrine.jobs.schedules import ScheduleStore, utc_now
from vitrine.uploads.store import UploadStore
from vitrine_local.cli import main

HEADER = "id,fit\n"


def made(shop: Shop, dataset: str, count: int = 6) -> Path:
    """A small dataset, indexed."""
    root = shop.system.catalogs / dataset
    (root / "images").mkdir(parents=True)
    for number in range(count):
        (root / "images" / f"{number}.jpg").write_bytes(picture(number))
    (root / "products.csv").write_text(HEADER + "".join(f"{number},Slim\n" for number in range(count)))
    shop.system.succeeded(shop.start_index(dataset=dataset, reader="folder", root=str(root))["id"])
    return root


def described(shop: Shop, dataset: str) -> dict[str, Any] | None:
    listed = shop.get("/api/datasets")["datasets"]
    return next((one for one in listed if one["dataset"] == dataset), None)


def ranking(shop: Shop, dataset: str) -> list[int]:
    answer = shop.api.post("/api/search", files={"image": picture(3)}, data={"dataset": dataset, "topK": "50"})
    assert answer.status_code == 200, answer.text
    return sorted(answer.json()["ranking"])


def run(shop: Shop, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints, on either stream."""
    capsys.readouterr()
    assert main([*arguments, "--url", shop.system.url("search_api")]) == code
    printed = capsys.readouterr()
    return printed.out + printed.err


@pytest.fixture
def dataset(shop: Shop, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.removeprefix("test_")[:60]
    yield name
    shop.api.delete(f"/api/datasets/{name}", params={"uploads": "true"})


def test_datasets_are_listed_with_what_serves_them(
    shop: Shop, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made(shop, dataset)
    drawn = described(shop, DATASET)
    assert drawn is not None
    assert [(one["model"], one["products"]) for one in drawn["models"]] == [("test_efficientnet", PRODUCTS)]
    mine = described(shop, dataset)
    assert mine is not None
    [model] = mine["models"]
    assert (model["release"], model["products"], mine["uploaded"], mine["deleted"]) == (shop.release, 6, 0, 0)
    [collection] = mine["collections"]
    assert (collection["state"], collection["serving"]) == ("ready", True)
    assert dataset[:20] in run(shop, capsys, "dataset", "list")
    assert any(
        one["dataset"] == dataset for one in json.loads(run(shop, capsys, "dataset", "list", "--json"))["datasets"]
    )


def test_a_dataset_is_shown_with_all_that_is_known_of_it(
    shop: Shop, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made(shop, dataset)
    assert shop.api.delete("/api/products/2", params={"dataset": dataset}).status_code == 200
    found = shop.get(f"/api/datasets/{dataset}")
    assert (found["products"], found["uploaded"], found["deleted"]) == (5, 0, 1)
    assert {one["name"]: one["kind"] for one in found["attributes"]} == {"fit": "keyword"}
    assert found["catalogue"] == {"reader": "folder", "root": str(root), "mapping": {}}
    (last,) = found["indexings"]
    assert (last["state"], last["model"], last["scheduled"]) == ("succeeded", "test_efficientnet", False)
    assert (last["counts"]["added"], last["counts"]["removed"]) == (6, 0)
    printed = run(shop, capsys, "dataset", "show", dataset)
    for text in (str(root), shop.release, "fit", "keyword", "6 added", "1 deleted"):
        assert text in printed
    assert run(shop, capsys, "dataset", "deleted", dataset).split()[0] == "2"
    page = shop.api.get(f"/datasets/{dataset}").text
    for text in (str(root), shop.release, "fit", "Deleted products", f"/api/products/2/restore?dataset={dataset}"):
        assert text in page
    assert f"/datasets/{dataset}" in shop.api.get("/datasets").text
    unknown = shop.api.get("/api/datasets/nobody")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "dataset_not_found")
    job = last["job"]
    assert run(shop, capsys, "jobs", job, "--changes", "added").split() == ["0", "1", "2", "3", "4", "5"]
    assert "added, changed, removed or all" in run(shop, capsys, "jobs", job, "--changes", "none", code=2)


def test_a_schedule_is_set_shown_and_removed(shop: Shop, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = made(shop, dataset)
    assert "every 6h" in run(shop, capsys, "dataset", "schedule", dataset, "--every", "6h")
    (schedule,) = shop.get(f"/api/datasets/{dataset}")["schedules"]
    assert (schedule["every"], schedule["root"], schedule["lastJob"]) == ("6h", str(root), None)
    assert "indexed every 6h with test_efficientnet" in run(shop, capsys, "dataset", "show", dataset)
    assert "Every 6h with test_efficientnet" in shop.api.get(f"/datasets/{dataset}").text
    shop.system.succeeded(shop.start_index(dataset=dataset, reader="folder", root=str(root), every="1d")["id"])
    assert [one["every"] for one in shop.get(f"/api/datasets/{dataset}")["schedules"]] == ["1d"]
    wrong = shop.api.put(f"/api/datasets/{dataset}/schedule", json={"every": "often"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "parameter_invalid")
    run(shop, capsys, "dataset", "schedule", dataset, "--off")
    assert shop.get(f"/api/datasets/{dataset}")["schedules"] == []
    run(shop, capsys, "dataset", "schedule", dataset, "--off", code=1)
    run(shop, capsys, "dataset", "schedule", dataset, "--every", "6h")
    assert shop.api.delete(f"/api/datasets/{dataset}").status_code == 200
    assert ScheduleStore(open_redis(shop.system.env["VITRINE_REDIS_URL"])).all() == []


def test_a_schedule_that_is_due_indexes_the_dataset(shop: Shop, dataset: str) -> None:
    root = made(shop, dataset)
    assert shop.api.put(f"/api/datasets/{dataset}/schedule", json={"every": "1h"}).status_code == 200
    (root / "images" / "5.jpg").unlink()
    schedules = ScheduleStore(open_redis(shop.system.env["VITRINE_REDIS_URL"]))
    (schedule,) = schedules.all()
    assert schedules.replace(schedule, schedule.delayed(utc_now(), seconds=-1))
    wait_until(lambda: schedules.all()[0].last_job is not None, what="the scheduled job")
    job = shop.get(f"/api/datasets/{dataset}")["schedules"][0]["lastJob"]
    shop.system.succeeded(job)
    assert ranking(shop, dataset) == [0, 1, 2, 3, 4]
    (last,) = shop.get(f"/api/datasets/{dataset}")["indexings"]
    assert (last["job"], last["scheduled"], last["counts"]["removed"]) == (job, True, 1)


def test_a_file_that_looks_the_same_is_read_only_by_a_full_indexing(shop: Shop, dataset: str) -> None:
    root = made(shop, dataset)
    path = root / "images" / "3.jpg"
    long_ago_ns = 1_700_000_000_000_000_000
    path.write_bytes(picture(3) + b"\0")
    for file in (root / "images").iterdir():
        os.utime(file, ns=(long_ago_ns, long_ago_ns))
    again: dict[str, Any] = {"dataset": dataset, "reader": "folder", "root": str(root)}
    shop.system.succeeded(shop.start_index(**again)["id"])  # notes the times of the files
    path.write_bytes(picture(3) + b"\1")
    os.utime(path, ns=(long_ago_ns, long_ago_ns))
    record = shop.system.succeeded(shop.start_index(**again)["id"])
    assert (record.progress.skipped, (record.result or {})["changed"]) == (6, 0)
    record = shop.system.succeeded(shop.start_index(**again, full=True)["id"])
    assert (record.progress.skipped, (record.result or {})["changed_ids"]) == (5, ["3"])


def test_a_dataset_is_dropped_when_told_twice_and_its_uploads_when_told_so(
    shop: Shop, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = made(shop, dataset)
    put = shop.api.put(
        "/api/products/mine", params={"dataset": dataset}, files={"image": picture(50)}, data={"fit": "Slim"}
    )
    assert put.status_code == 200, put.text
    asked = run(shop, capsys, "dataset", "delete", dataset, code=2)
    assert "--yes" in asked
    assert "1 collection with 7 products" in asked
    assert described(shop, dataset) is not None
    run(shop, capsys, "dataset", "delete", dataset, "--yes")
    left = described(shop, dataset)
    assert left is not None
    assert (left["models"], left["collections"], left["uploaded"]) == ([], [], 1)
    gone = shop.api.post("/api/search", files={"image": picture(3)}, data={"dataset": dataset})
    assert gone.status_code in (400, 404)
    assert not [one for one in shop.system.store.get_collections().collections if one.name.startswith(f"{dataset}--")]
    assert (root / "products.csv").is_file()
    shop.system.succeeded(shop.start_index(dataset=dataset, reader="folder", root=str(root))["id"])
    assert shop.get("/api/products/mine", dataset=dataset)["product"]["fit"] == "Slim"
    run(shop, capsys, "dataset", "drop", dataset, "--yes", "--uploads")
    assert described(shop, dataset) is None
    again = shop.api.delete(f"/api/datasets/{dataset}")
    assert (again.status_code, again.json()["code"]) == (404, "dataset_not_found")


def test_a_dataset_is_not_dropped_while_a_job_works_on_it(shop: Shop, dataset: str) -> None:
    made(shop, dataset)
    # A job that no worker takes: its message is never sent.
    waiting, _ = shop.system.jobs.create(JobKind.DELETE, {"dataset": dataset, "product_id": "nobody"})
    refused = shop.api.delete(f"/api/datasets/{dataset}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert waiting.id in refused.json()["detail"]
    assert ranking(shop, dataset) == [0, 1, 2, 3, 4, 5]
    shop.system.jobs.request_cancel(waiting.id)
    assert shop.api.delete(f"/api/datasets/{dataset}").status_code == 200


def test_a_deletion_is_undone_at_once(shop: Shop, dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    made(shop, dataset)
    for product_id in ("2", "4"):
        assert shop.api.delete(f"/api/products/{product_id}", params={"dataset": dataset}).status_code == 200
    assert ranking(shop, dataset) == [0, 1, 3, 5]
    deleted = shop.get(f"/api/datasets/{dataset}/deleted")
    assert (deleted["total"], deleted["deleted"]) == (2, [2, 4])
    assert run(shop, capsys, "product", "deleted", "--dataset", dataset).split()[:2] == ["2", "4"]
    assert "served again" in run(shop, capsys, "product", "restore", "2", "--dataset", dataset)
    assert ranking(shop, dataset) == [0, 1, 2, 3, 5]
    product = shop.get("/api/products/2", dataset=dataset)["product"]
    assert product["fit"] == "Slim"
    assert shop.api.get("/api/images/2", params={"dataset": dataset}).content == picture(2)
    again = shop.api.post("/api/products/2/restore", params={"dataset": dataset})
    assert (again.status_code, again.json()["code"]) == (404, "product_not_found")


def test_what_cannot_be_served_again_at_once_comes_with_the_next_indexing(shop: Shop, dataset: str) -> None:
    root = made(shop, dataset)
    for product_id in ("3", "5"):
        assert shop.api.delete(f"/api/products/{product_id}", params={"dataset": dataset}).status_code == 200
    (root / "images" / "3.jpg").unlink()
    (root / "images" / "5.jpg").write_bytes(b"no picture")
    for product_id, told in (("3", "missing_picture"), ("5", "picture")):
        answer = shop.api.post(f"/api/products/{product_id}/restore", params={"dataset": dataset})
        assert answer.status_code == 200, answer.text
        assert answer.json()["served"] is False
        assert told in answer.json()["detail"]
        assert "next indexing" in answer.json()["detail"]
    assert ranking(shop, dataset) == [0, 1, 2, 4]
    (root / "images" / "3.jpg").write_bytes(picture(3))
    shop.system.succeeded(shop.start_index(dataset=dataset, reader="folder", root=str(root))["id"])
    assert ranking(shop, dataset) == [0, 1, 2, 3, 4]


def test_an_upload_that_was_deleted_must_be_put_again(shop: Shop, dataset: str) -> None:
    made(shop, dataset)
    put = shop.api.put("/api/products/mine", params={"dataset": dataset}, files={"image": picture(50)})
    assert put.status_code == 200, put.text
    assert shop.api.delete("/api/products/mine", params={"dataset": dataset}).status_code == 200
    answer = shop.api.post("/api/products/mine/restore", params={"dataset": dataset}).json()
    assert answer["served"] is False
    assert "put again" in answer["detail"]
    assert UploadStore(Path(shop.system.env["VITRINE_UPLOADS_DIR"])).tombstones(dataset) == frozenset()
