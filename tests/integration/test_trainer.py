"""The trainer's `project` job: from a catalogue and a backbone to a release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.releases import TINY_MODEL, store_of
from harness.system import System, running_system
from harness.waiting import wait_until
from vitrine.jobs import JobKind, JobState
from vitrine.splits import part_of
from vitrine.vision.backbones import load_backbone, save_weights
from vitrine.vision.models import model_entry

# So that a job of a few dozen pictures has many steps to be stopped between.
SMALL_CHUNKS = {"VITRINE_TRAINER_CHUNK": "4", "VITRINE_TRAINER_BATCH": "1"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("trainer") / "system", "trainer", **SMALL_CHUNKS) as system:
        yield system


def params(system: System, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": "drawn",
        "reader": "synthetic",
        "root": str(system.catalog(count=60)),
        "model": TINY_MODEL,
        "weights": "seed:0",
        "options": {"input_px": 64},
        "components": 16,
        "whiten": False,
        "seed": 0,
        "limit": None,
        "sample_max": 50_000,
        **changes,
    }


def test_a_release_is_fitted_on_the_train_part_alone(system: System) -> None:
    record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system)))
    assert record.result is not None
    manifest = store_of(system.releases).manifest(record.result["release_id"])
    train = [str(number) for number in range(10_000) if part_of("drawn", str(number), seed=0) == "train"]
    assert manifest.dim == 16
    assert manifest.projection.fitted_on.part == "train"
    assert 0 < manifest.projection.fitted_on.count < 60
    assert len(train) > manifest.projection.fitted_on.count
    assert manifest.weights.source == "seed:0"
    assert record.progress.done == record.progress.total == manifest.projection.fitted_on.count
    assert store_of(system.releases).local_folder(manifest.release_id).is_dir()


def test_the_same_job_makes_the_same_release(system: System) -> None:
    first = system.succeeded(system.enqueue(JobKind.PROJECT, params(system)))
    second = system.succeeded(system.enqueue(JobKind.PROJECT, params(system)))
    assert first.result is not None
    assert second.result is not None
    assert first.result["release_id"] == second.result["release_id"]


def test_weights_come_from_a_file_below_an_allowed_root(system: System) -> None:
    backbone = load_backbone(model_entry(TINY_MODEL), weights="seed:9", options={})
    save_weights(backbone.network, system.catalogs / "weights.safetensors")
    weights = str(system.catalogs / "weights.safetensors")
    record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system, weights=weights)))
    assert record.result is not None
    assert store_of(system.releases).manifest(record.result["release_id"]).weights.source == "file:weights.safetensors"


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"components": 300}, "projection_impossible", "components"),
        ({"model": "no_such_model"}, "model_unknown", "no_such_model"),
        ({"weights": "/etc/passwd.safetensors"}, "weights_unusable", "VITRINE_WEIGHTS_DIR"),
        ({"options": {"pretrained": True}}, "parameter_invalid", "pretrained"),
        ({"root": "/etc"}, "catalog_root_refused", "VITRINE_CATALOG_ROOTS"),
    ],
)
def test_a_job_that_cannot_be_done_says_why(system: System, changes: dict[str, Any], code: str, told: str) -> None:
    record = system.finished(system.enqueue(JobKind.PROJECT, params(system, **changes)))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == code
    assert told in record.error.detail


def test_unreadable_pictures_are_told_by_id_and_left_out(system: System) -> None:
    root = system.catalog("damaged", count=60, seed=4)
    victims = sorted((root / "images").iterdir())[:6]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:300])
    record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system, root=str(root), components=8)))
    told = {fault.product_id for fault in record.faults}
    assert told
    assert told <= {victim.stem for victim in victims}
    assert record.progress.failed == len(told)


def test_a_cancelled_job_ends_and_leaves_no_release(system: System) -> None:
    job_id = system.enqueue(JobKind.PROJECT, params(system, root=str(system.catalog("large", count=240)), seed=5))
    wait_until(lambda: system.jobs.finished_batches(job_id), deadline_s=60, what="the first chunk is done")
    before = store_of(system.releases).ids()
    system.jobs.request_cancel(job_id)
    assert system.finished(job_id).state is JobState.CANCELLED
    assert store_of(system.releases).ids() == before


def test_a_killed_job_goes_on_where_it_was(system: System) -> None:
    job_id = system.enqueue(JobKind.PROJECT, params(system, root=str(system.catalog("large", count=240)), seed=6))
    wait_until(lambda: system.jobs.finished_batches(job_id), deadline_s=60, what="the first chunk is done")
    system.services["trainer"].kill()
    assert system.jobs.get(job_id).state is JobState.RUNNING
    system.start("trainer", **SMALL_CHUNKS)
    record = system.succeeded(job_id)
    assert record.attempt == 2
    assert record.result is not None
    assert record.result["fitted_on"] == record.progress.done == record.progress.total
