"""Indexing, through real services: what is stored, what is reported, what a second indexing does."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from qdrant_client import models

from harness.processes import free_port
from harness.releases import picture
from harness.system import MODEL, System, running_system
from harness.waiting import wait_until
from vitrine.jobs import JobKind, JobState
from vitrine.products import Product, point_id
from vitrine.qdrant.schema import CollectionMetadata
from vitrine.uploads.store import UploadStore

METRICS_PORT = free_port()
SETTINGS = {"VITRINE_INDEX_BATCH": "8", "VITRINE_INDEXER_METRICS_PORT": str(METRICS_PORT)}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("indexer") / "system"
    with running_system(folder, "embedder", "indexer", **SETTINGS) as system:
        yield system


@pytest.fixture(scope="module")
def first(system: System) -> str:
    return system.release()


def payloads(system: System, collection: str) -> dict[str, dict[str, object]]:
    records, _ = system.store.scroll(collection, limit=1000)
    return {str(record.payload["product_id"]): record.payload for record in records if record.payload}


def rows_of(root: Path) -> list[dict[str, str]]:
    with (root / "styles.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_product_is_stored_once_with_its_attributes_and_served(system: System, first: str) -> None:
    record = system.index(first, system.catalog(), dataset="whole")
    stored = payloads(system, system.collection(first, dataset="whole"))
    rows = rows_of(system.catalog())
    assert set(stored) == {row["id"] for row in rows}
    for row in rows:
        assert stored[row["id"]]["gender"] == row["gender"]
        assert stored[row["id"]]["year"] == int(row["year"])
        assert stored[row["id"]]["origin"] == "catalog"
    assert system.serving(dataset="whole") == system.collection(first, dataset="whole")
    assert record.result is not None
    assert record.result["indexed"] == len(rows)
    assert record.result["recall_at_10"] >= 0.99
    assert record.progress.done == record.progress.total == len(rows)


def test_the_collection_knows_what_it_is(system: System, first: str) -> None:
    system.index(first, system.catalog(), dataset="known")
    info = system.store.get_collection(system.collection(first, dataset="known"))
    metadata = CollectionMetadata.parse(info.config.metadata)
    assert metadata is not None
    assert (metadata.dataset, metadata.model, metadata.release_id, metadata.state) == ("known", MODEL, first, "ready")
    assert {"gender", "articleType", "year", "genderArticleType", "product_id"} <= set(info.payload_schema)


def test_bad_pictures_cost_themselves_and_are_told_by_id(system: System, first: str) -> None:
    root = system.catalog("damaged", seed=2)
    files = sorted((root / "images").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:200])
    files[1].write_bytes(b"no picture")
    files[2].unlink()
    record = system.index(first, root, dataset="damaged")
    told = {fault.product_id: fault.kind for fault in record.faults}
    assert told == {
        files[0].stem: "image_truncated", files[1].stem: "image_format_unsupported", files[2].stem: "missing_picture",
    }  # fmt: skip
    assert record.progress.failed == 2
    assert record.progress.done == len(files) - 3
    assert record.fault_counts["missing_picture"] == 1


def test_a_picture_that_links_out_of_its_root_is_told_and_never_read(system: System, first: str) -> None:
    root = system.catalog("linked", seed=3)
    victim = min((root / "images").iterdir())
    outside = system.folder / "secret.jpg"
    outside.write_bytes(picture(1))
    victim.unlink()
    victim.symlink_to(outside)
    record = system.index(first, root, dataset="linked")
    assert {fault.product_id: fault.kind for fault in record.faults} == {victim.stem: "unsafe_picture"}
    assert victim.stem not in payloads(system, system.collection(first, dataset="linked"))


def test_indexing_again_embeds_only_what_changed(system: System, first: str) -> None:
    root = system.catalog("changing", seed=4)
    system.index(first, root, dataset="changing")
    files = sorted((root / "images").iterdir())
    files[0].write_bytes(picture(77))
    rows = rows_of(root)
    gone, renamed = rows[5]["id"], rows[6]["id"]
    rows[6]["gender"] = "Unisex"
    with (root / "styles.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["id"] != gone)
    record = system.index(first, root, dataset="changing")
    stored = payloads(system, system.collection(first, dataset="changing"))
    assert record.progress.done == 1
    assert record.progress.skipped == len(rows) - 2
    assert gone not in stored
    assert stored[renamed]["gender"] == "Unisex"


def test_a_limit_indexes_so_many(system: System, first: str) -> None:
    record = system.index(first, system.catalog(), dataset="limited", limit=10)
    assert record.result is not None
    assert record.result["indexed"] == 10


def test_the_collection_before_is_kept_and_older_ones_go(system: System, first: str) -> None:
    releases = [first, system.release(weights="seed:11"), system.release(weights="seed:12")]
    for release_id in releases:
        system.index(release_id, system.catalog(), dataset="rolling")
    assert system.serving(dataset="rolling") == system.collection(releases[2], dataset="rolling")
    kept = [system.store.collection_exists(system.collection(one, dataset="rolling")) for one in releases]
    assert kept == [False, True, True]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"release_id": f"{MODEL}-0000000000"}, "release_not_found"),
        ({"root": "/etc"}, "catalog_root_refused"),
    ],
)
def test_a_job_that_cannot_be_done_says_why_and_leaves_nothing(
    system: System, first: str, changes: dict[str, str], code: str
) -> None:
    params = {
        "dataset": "refused", "reader": "synthetic", "root": str(system.catalog()), "model": MODEL, "release_id": first,
        "limit": None, **changes,
    }  # fmt: skip
    record = system.finished(system.enqueue(JobKind.INDEX, params))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == code
    assert not any(one.name.startswith("refused--") for one in system.store.get_collections().collections)


def test_a_folder_without_a_csv_is_told(system: System, first: str) -> None:
    root = system.catalogs / "bare"
    (root / "images").mkdir(parents=True)
    record = system.finished(system.enqueue_index(first, root, dataset="bare"))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code in ("catalog_not_found", "catalog_malformed")


def test_uploads_go_into_every_serving_collection_and_outlive_an_indexing(system: System, first: str) -> None:
    upload_store = UploadStore(Path(system.env["VITRINE_UPLOADS_DIR"]))
    system.index(first, system.catalog(), dataset="uploads")
    upload_store.put(Product("uploads", "mine", "", {"gender": "Women", "articleType": "Tops"}), picture(5))
    record = system.succeeded(system.enqueue(JobKind.UPSERT, {"dataset": "uploads", "product_id": "mine"}))
    assert record.result is not None
    assert record.result["collections"] == [system.collection(first, dataset="uploads")]
    gone = next(iter(payloads(system, system.collection(first, dataset="uploads"))))
    upload_store.delete("uploads", gone)
    system.succeeded(system.enqueue(JobKind.DELETE, {"dataset": "uploads", "product_id": gone}))
    second = system.release(weights="seed:21")
    system.index(second, system.catalog(), dataset="uploads")
    stored = payloads(system, system.collection(second, dataset="uploads"))
    assert stored["mine"]["origin"] == "upload"
    assert gone not in stored


def test_a_product_keeps_the_moment_it_was_added_whatever_indexes_it_again(system: System, first: str) -> None:
    def moments(release: str) -> dict[str, object]:
        stored = payloads(system, system.collection(release, dataset="moments"))
        return {product_id: payload.get("added_at_ms") for product_id, payload in stored.items()}

    before_ms = time.time() * 1000
    system.index(first, system.catalog(), dataset="moments")
    known = moments(first)
    assert all(isinstance(moment, int) and before_ms <= moment <= time.time() * 1000 for moment in known.values())
    again = system.index(first, system.catalog(), dataset="moments")
    assert (moments(first), again.progress.done) == (known, 0)
    upload_store = UploadStore(Path(system.env["VITRINE_UPLOADS_DIR"]))
    upload_store.put(Product("moments", "mine", "", {"gender": "Women"}), picture(5))
    system.succeeded(system.enqueue(JobKind.UPSERT, {"dataset": "moments", "product_id": "mine"}))
    newer = moments(first)["mine"]
    assert isinstance(newer, int)
    assert newer > max(moment for moment in known.values() if isinstance(moment, int))
    # One of before such times were kept has none, and an indexing invents none.
    collection, old = system.collection(first, dataset="moments"), next(iter(known))
    system.store.delete_payload(collection, ["added_at_ms"], points=[point_id("moments", old)])
    second = system.release(weights="seed:22")
    system.index(second, system.catalog(), dataset="moments")
    assert moments(second) == {**known, "mine": newer, old: None}


def test_what_is_put_and_deleted_during_an_indexing_is_right_in_the_new_collection(system: System, first: str) -> None:
    upload_store = UploadStore(Path(system.env["VITRINE_UPLOADS_DIR"]))
    dataset = "meanwhile"
    root = system.catalog("long", count=300)
    system.index(first, system.catalog("long", count=300), dataset=dataset, limit=40)
    ids = sorted(path.stem for path in (root / "images").iterdir())
    second = system.release(weights="seed:22")
    job_id = system.enqueue_index(second, root, dataset=dataset)
    wait_until(lambda: system.jobs.finished_batches(job_id), what="the first batch is done")
    upload_store.put(Product(dataset, "new", "", {"gender": "Women"}), picture(6))
    upload_store.put(Product(dataset, ids[1], "", {"gender": "Unisex"}), picture(7))
    upload_store.delete(dataset, ids[2])
    changes = [(JobKind.UPSERT, "new"), (JobKind.UPSERT, ids[1]), (JobKind.DELETE, ids[2])]
    for changed in [system.enqueue(kind, {"dataset": dataset, "product_id": one}) for kind, one in changes]:
        system.succeeded(changed)
    assert not system.jobs.get(job_id).state.finished, "the changes came while the indexing went on"
    assert {"new", ids[1]} <= set(payloads(system, system.collection(first, dataset=dataset)))
    record = system.succeeded(job_id)
    stored = payloads(system, system.collection(second, dataset=dataset))
    assert set(stored) == {*ids, "new"} - {ids[2]}
    assert (stored[ids[1]]["origin"], stored[ids[1]]["gender"]) == ("upload", "Unisex")
    assert record.result is not None
    assert record.result["indexed"] == len(ids)


def test_a_collection_that_does_not_pass_its_checks_never_serves(system: System, first: str) -> None:
    root = system.catalog("long", count=300)
    system.index(first, system.catalog(), dataset="checked")
    second = system.release(weights="seed:41")
    job_id = system.enqueue_index(second, root, dataset="checked")
    wait_until(lambda: system.jobs.finished_batches(job_id), what="the first batch is done")
    points, _ = system.store.scroll(system.collection(second, dataset="checked"), limit=1)
    system.store.delete(system.collection(second, dataset="checked"), [points[0].id], wait=True)
    record = system.finished(job_id)
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "verification_failed"
    assert "299" in record.error.detail
    assert system.serving(dataset="checked") == system.collection(first, dataset="checked")
    wait_until(
        lambda: not system.store.collection_exists(system.collection(second, dataset="checked")),
        what="the collection that failed is gone",
    )


def test_products_that_share_one_picture_pass_the_checks(system: System, first: str) -> None:
    root = system.catalog("alike", count=30, seed=5)
    for path in (root / "images").iterdir():
        path.write_bytes(picture(9))
    record = system.index(first, root, dataset="alike")
    assert record.result is not None
    assert record.result["indexed"] == 30


def test_a_collection_that_another_alias_names_is_kept(system: System, first: str) -> None:
    system.index(first, system.catalog(), dataset="pinned")
    pinned = system.collection(first, dataset="pinned")
    create = models.CreateAlias(collection_name=pinned, alias_name="someone-elses")
    system.store.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    for seed in (51, 52, 53):
        system.index(system.release(weights=f"seed:{seed}"), system.catalog(), dataset="pinned")
    assert system.store.collection_exists(pinned)


def test_a_delete_of_a_product_that_is_nowhere_says_so(system: System, first: str) -> None:
    system.index(first, system.catalog(), dataset="nowhere")
    record = system.finished(system.enqueue(JobKind.DELETE, {"dataset": "nowhere", "product_id": "ghost"}))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "product_not_found"
    assert "ghost" in record.error.detail


def test_a_change_to_a_dataset_that_is_not_indexed_says_so(system: System) -> None:
    upload_store = UploadStore(Path(system.env["VITRINE_UPLOADS_DIR"]))
    upload_store.put(Product("unindexed", "mine", "", {}), picture(5))
    record = system.finished(system.enqueue(JobKind.UPSERT, {"dataset": "unindexed", "product_id": "mine"}))
    assert record.error is not None
    assert record.error.code == "dataset_not_found"


def test_a_deleted_product_of_the_catalogue_stays_away(system: System, first: str) -> None:
    system.index(first, system.catalog(), dataset="away")
    collection = system.collection(first, dataset="away")
    gone = min(payloads(system, collection))
    for _ in range(2):  # a job that is run again ends the same
        system.succeeded(system.enqueue(JobKind.DELETE, {"dataset": "away", "product_id": gone}))
    system.index(first, system.catalog(), dataset="away")
    assert gone not in payloads(system, collection)


def test_of_two_changes_that_overtake_each_other_the_later_one_stands(system: System, first: str) -> None:
    upload_store = UploadStore(Path(system.env["VITRINE_UPLOADS_DIR"]))
    system.index(first, system.catalog(), dataset="overtaken")
    upload_store.delete("overtaken", "back")
    upload_store.put(Product("overtaken", "back", "", {"gender": "Men"}), picture(8))
    for kind in (JobKind.UPSERT, JobKind.DELETE):  # the deletion's job comes last, though it was asked for first
        system.succeeded(system.enqueue(kind, {"dataset": "overtaken", "product_id": "back"}))
    assert "back" in payloads(system, system.collection(first, dataset="overtaken"))


def test_an_upload_that_is_no_good_fails_with_the_pictures_own_error(system: System, first: str) -> None:
    upload_store = UploadStore(Path(system.env["VITRINE_UPLOADS_DIR"]))
    system.index(first, system.catalog(), dataset="bad-upload")
    path = upload_store.picture_path(upload_store.put(Product("bad-upload", "torn", "", {}), picture(5)))
    path.write_bytes(path.read_bytes()[:700])
    record = system.finished(system.enqueue(JobKind.UPSERT, {"dataset": "bad-upload", "product_id": "torn"}))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == "image_truncated"


def test_a_cancelled_indexing_leaves_what_serves_alone(system: System, first: str) -> None:
    system.index(first, system.catalog(), dataset="cancelled")
    second = system.release(weights="seed:31")
    half_made = system.collection(second, dataset="cancelled")
    with system.services["embedder"].paused():  # so that it cannot be done before it is cancelled
        job_id = system.enqueue_index(second, system.catalog("long", count=300), dataset="cancelled")
        wait_until(lambda: system.store.collection_exists(half_made), what="the new collection")
        system.jobs.request_cancel(job_id)
    assert system.finished(job_id).state is JobState.CANCELLED
    assert system.serving(dataset="cancelled") == system.collection(first, dataset="cancelled")
    wait_until(lambda: not system.store.collection_exists(half_made), what="the half-made collection is gone")


def test_the_point_of_a_product_follows_from_its_id(system: System, first: str) -> None:
    system.index(first, system.catalog(), dataset="points")
    records, _ = system.store.scroll(system.collection(first, dataset="points"), limit=1000)
    assert all(record.payload for record in records)
    assert all(record.id == point_id("points", str((record.payload or {})["product_id"])) for record in records)


def test_what_was_done_is_counted_for_prometheus(system: System, first: str) -> None:
    def counted() -> dict[str, float]:
        text = httpx.get(f"http://127.0.0.1:{METRICS_PORT}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {sample.name + str(sample.labels.get("kind", "")): sample.value for sample in samples}

    system.index(first, system.catalog(), dataset="counted")
    before = counted()
    record = system.index(first, system.catalog(), dataset="counted")
    after = counted()
    skipped = "vitrine_indexer_pictures_totalskipped"
    assert after[skipped] - before.get(skipped, 0) == record.progress.skipped == 48
    assert after["vitrine_indexer_pictures_totaldone"] == before["vitrine_indexer_pictures_totaldone"] > 0
    assert after["vitrine_worker_redis_up"] == 1
