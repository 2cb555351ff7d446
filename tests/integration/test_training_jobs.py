"""Training as a job: followed, cancelled, killed and taken up, never run twice, and clear about what it cannot do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.releases import store_of
from harness.system import System, running_system
from harness.training import tiny_recipe
from harness.waiting import wait_until
from vitrine.jobs import JobKind, JobState
from vitrine.jobs.celery import first_message

OFTEN = {"VITRINE_TRAINER_CHECKPOINT_S": "0.05", "VITRINE_TRAINER_PRECISION": "float32"}
KILLS = 3


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("training") / "system", "trainer", **OFTEN) as system:
        yield system


def params(system: System, *, count: int = 120, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": "drawn",
        "reader": "synthetic",
        "root": str(system.catalog(f"drawn-{count}", count=count)),
        "limit": None,
        "recipe": tiny_recipe(**changes).as_json(),
    }


def test_a_trained_release_is_stored_and_the_record_tells_how_it_went(system: System) -> None:
    record = system.succeeded(system.enqueue(JobKind.TRAIN, params(system)))
    assert record.result is not None
    manifest = store_of(system.releases).manifest(record.result["release_id"])
    assert manifest.metrics["test_precision_at_15"] == record.result["test_precision_at_15"]
    assert record.progress.course == record.progress.total == 128, "two epochs of four whole batches of sixteen"
    told = [note.text for note in record.notes]
    assert told[0] == "attempt 1 begins"
    assert [text.partition(":")[0] for text in told[1:3]] == ["epoch 1", "epoch 2"]
    assert "published" in told[-1]


def test_a_run_killed_three_times_at_random_ends_as_one_that_was_not(system: System) -> None:
    changes: dict[str, Any] = {
        "optim": {"epochs": 50, "ema": 0.9},
        "augment": {"flip": 0.5, "erase": 0.5, "crop": [0.5, 1.0]},
    }
    undisturbed = system.succeeded(system.enqueue(JobKind.TRAIN, params(system, name="whole", **changes)))
    assert undisturbed.result is not None
    job_id = system.enqueue(JobKind.TRAIN, params(system, name="cut", **changes))
    total = undisturbed.progress.total or 0
    chance = random.Random(0)
    for attempt in range(1, KILLS + 1):
        least = (system.jobs.get(job_id).progress.course or 0) + chance.randint(40, total // (KILLS + 5))

        def far_enough(attempt: int = attempt, least: int = least) -> bool:
            record = system.jobs.get(job_id)
            return record.attempt == attempt and (record.progress.course or 0) >= least

        wait_until(far_enough, what=f"the run has seen {least} pictures")
        system.services["trainer"].kill()
        system.start("trainer", **OFTEN)
    record = system.succeeded(job_id)
    assert record.result is not None
    assert record.attempt == KILLS + 1
    told = [note.text for note in record.notes]
    assert [text for text in told if "begins" in text] == [f"attempt {number} begins" for number in range(1, KILLS + 2)]
    assert sum("resumed from the checkpoint" in text for text in told) == KILLS
    figures = [name for name in undisturbed.result if name.startswith(("test_", "unseen_", "validation_"))]
    assert {name: record.result[name] for name in figures} == {name: undisturbed.result[name] for name in figures}
    one, two = (
        load_file(store_of(system.releases).local_folder(result["release_id"]) / "weights.safetensors")
        for result in (undisturbed.result, record.result)
    )
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


def test_a_cancelled_training_ends_at_its_next_step_and_leaves_no_release(system: System) -> None:
    job_id = system.enqueue(JobKind.TRAIN, params(system, name="stopped", optim={"epochs": 10_000}))
    wait_until(lambda: system.jobs.get(job_id).progress.course, what="the training is on its way")
    record = system.jobs.get(job_id)
    assert record.eta_s is None or record.eta_s > 0
    system.jobs.request_cancel(job_id)
    assert system.finished(job_id).state is JobState.CANCELLED
    assert not [release for release in store_of(system.releases).ids() if release.startswith("stopped-")]


def test_a_message_that_comes_twice_does_not_train_twice(system: System) -> None:
    job_id = system.enqueue(JobKind.TRAIN, params(system, name="twice", optim={"epochs": 4}))
    for _ in range(3):
        system.publisher.send(first_message(system.jobs.get(job_id)))
    record = system.succeeded(job_id)
    last = system.succeeded(system.enqueue(JobKind.TRAIN, params(system, name="behind", optim={"epochs": 1})))
    assert last.state is JobState.SUCCEEDED, "the repeated messages before it have been taken"
    assert system.jobs.get(job_id).attempt == record.attempt == 1


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"model": {"model": "timm:no_such_network"}}, "model_unknown", "no_such_network"),
        ({"data": {"label": "masterCategory", "subset": "fashion-9"}}, "parameter_invalid", "fashion-22"),
        ({"data": {"label": "season_of_birth"}}, "training_impossible", "season_of_birth"),
        ({"model": {"trainable": ["layer9"]}}, "parameter_invalid", "layer9"),
        ({"terms": [{"kind": "triplet", "options": {"warmth": 1}}]}, "parameter_invalid", "triplet"),
        ({"optim": {"optimizer": "sgd", "learning_rate": 1e30, "schedule": "constant"}}, "training_diverged", "optim"),
        ({"kind": "distill", "teacher": "gone-0123456789"}, "release_not_found", "gone-0123456789"),
    ],
)
def test_a_training_that_cannot_be_done_says_why(system: System, changes: dict[str, Any], code: str, told: str) -> None:
    record = system.finished(system.enqueue(JobKind.TRAIN, params(system, **changes)))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == code
    assert told in record.error.detail


def test_a_release_is_adapted_to_another_catalogue_without_moving_a_weight(system: System) -> None:
    parent = system.release(components=16)
    root = str(system.catalog("target", count=80, seed=9))
    job = {
        "dataset": "drawn", "reader": "synthetic", "root": str(system.catalog("drawn-120", count=120)), "limit": None,
        "release_id": parent, "name": "adapted", "share": 1.0, "components": None, "whiten": None, "seed": 0,
        "sample_max": 1000, "target": {"dataset": "other", "reader": "synthetic", "root": root, "limit": None},
    }  # fmt: skip
    record = system.succeeded(system.enqueue(JobKind.ADAPT, job))
    assert record.result is not None
    store = store_of(system.releases)
    manifest = store.manifest(record.result["release_id"])
    assert manifest.parent == parent
    assert manifest.dim == 16
    before = load_file(store.local_folder(parent) / "weights.safetensors")
    after = load_file(store.local_folder(manifest.release_id) / "weights.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.endswith(("running_mean", "running_var")) for name in moved)
