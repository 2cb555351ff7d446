"""The trainer's `project` job: from a catalogue and a backbone to a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.killing import pool_processes
from harness.releases import TINY_MODEL, store_of
from harness.system import System, running_system
from harness.waiting import wait_until
from trainer.data.dataset import Dataset
from trainer.evaluation.protocol import build_evaluation_set
from trainer.evaluation.strictness import split_lineage
from vitrine.catalogs import read_catalog
from vitrine.evaluation.plan import parse_plan
from vitrine.jobs import JobKind, JobState
from vitrine.jobs.celery import TRAIN
from vitrine.releases import WEIGHTS_FILE
from vitrine.releases.ancestry import lineage_of
from vitrine.vision.backbones import load_backbone, save_weights
from vitrine.vision.models import model_entry
from vitrine.vision.release_builder import fitted_on

# So that a job of a few dozen pictures has many steps to be stopped between.
# Of the worker and its pool; a process that has run a job holds 500 MiB or more.
IDLE_MIB = 350
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


def test_a_release_is_fitted_only_on_the_train_part(system: System) -> None:
    record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system)))
    assert record.result is not None
    manifest = store_of(system.releases).manifest(record.result["release_id"])
    assert manifest.dim == 16
    assert manifest.projection.fitted_on.part == "train"
    assert 0 < manifest.projection.fitted_on.count < 60
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
def test_an_impossible_job_fails_with_the_reason(system: System, changes: dict[str, Any], code: str, told: str) -> None:
    record = system.finished(system.enqueue(JobKind.PROJECT, params(system, **changes)))
    assert record.state is JobState.FAILED
    assert record.error is not None
    assert record.error.code == code
    assert told in record.error.detail


def test_unreadable_pictures_are_reported_by_id_and_left_out(system: System) -> None:
    root = system.catalog("apply_corruption", count=60, seed=4)
    victims = sorted((root / "images").iterdir())[:6]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:300])
    record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system, root=str(root), components=8)))
    told = {fault.product_id for fault in record.faults}
    assert told
    assert told <= {victim.stem for victim in victims}
    assert record.progress.failed == len(told)


def underway(system: System, *, seed: int) -> str:
    """A job that has some chunks behind it and some before it. The trainer stands still, so that it stays so."""
    root = str(system.catalog("large", count=240))
    for attempt in range(10):
        job_id = system.enqueue(JobKind.PROJECT, params(system, root=root, seed=seed + 1_000 * attempt))
        wait_until(partial(system.jobs.finished_batches, job_id), what="the first chunk is done")
        system.services["trainer"].pause()
        if not system.jobs.get(job_id).state.finished:
            return job_id
        system.services["trainer"].resume()  # it was done before this process had its turn
    raise AssertionError("ten jobs came to their end before a look at them")


def test_a_cancelled_job_ends_and_leaves_no_release(system: System) -> None:
    job_id = underway(system, seed=5)
    before = store_of(system.releases).ids()
    system.jobs.request_cancel(job_id)
    system.services["trainer"].resume()
    assert system.finished(job_id).state is JobState.CANCELLED
    assert store_of(system.releases).ids() == before


def test_a_killed_job_continues_after_its_last_chunk(system: System) -> None:
    job_id = underway(system, seed=6)
    system.services["trainer"].kill()
    assert system.jobs.get(job_id).state is JobState.RUNNING
    system.start("trainer", **SMALL_CHUNKS)
    record = system.succeeded(job_id)
    assert record.attempt == 2
    assert record.result is not None
    assert record.result["fitted_on"] == record.progress.done == record.progress.total


def test_the_process_of_a_job_ends_with_it_and_an_idle_trainer_uses_little_memory(system: System) -> None:
    system.services["trainer"].kill()
    system.start("trainer", package="trainer", **SMALL_CHUNKS)
    trainer = system.services["trainer"].pid

    def is_small() -> bool:
        pool = pool_processes(trainer)
        return len(pool) == 1 and sum(map(resident_mib, [trainer, *pool])) < IDLE_MIB

    done: set[str] = set()
    for seed in (7, 8):
        record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system, seed=seed)))
        assert record.attempt == 1, "a message is not lost with the process that has done it, nor done twice"
        # A worker takes a message only when those before it are acknowledged, so there is nothing to wait for.
        assert not done & jobs_unacknowledged(system)
        done.add(record.id)
        wait_until(is_small, what="a new process that has not imported torch")
    system.services["trainer"].kill()
    system.start("trainer", **SMALL_CHUNKS)


def jobs_unacknowledged(system: System) -> set[str]:
    """The jobs whose messages a worker of the trainer has taken and not acknowledged. That of a worker that was killed
    stays among them until its visibility timeout, though its job has long ended.
    """
    taken = system.redis_client.hvals(TRAIN.key_prefix + "unacked")
    return {json.loads(entry)[0]["headers"]["job_id"] for entry in taken}


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


PLAN = {"data": {"label": "subCategory", "relevance": ["subCategory"]}, "graded": ["subCategory"]}


def projected(system: System, **changes: Any) -> str:
    record = system.succeeded(system.enqueue(JobKind.PROJECT, params(system, **changes)))
    assert record.result is not None
    return str(record.result["release_id"])


def evaluated(system: System, release_id: str, *, queries: dict[str, Any] | None = None, **plan: Any) -> dict[str, Any]:
    """The report's document on one release."""
    catalog = {name: params(system)[name] for name in ("dataset", "reader", "root", "limit")}
    content = {**PLAN, "releases": [release_id], **plan}
    job = {**catalog, "plan": content, "queries": queries, "title": "Strict or not"}
    record = system.succeeded(system.enqueue(JobKind.EVALUATE, job))
    assert record.result is not None
    document: dict[str, Any] = json.loads(Path(record.result["report"]).with_name("report.json").read_text())
    (told,) = document["releases"]
    assert record.result["strictness"][release_id]["strict"] == told["strict"] == record.result["lines"][0]["strict"]
    return {**document, **told}


def parts_of(system: System, release_id: str, *, seed: int | None = None) -> Dataset:
    """The parts that an evaluation of a release works with."""
    catalog = read_catalog("synthetic", Path(params(system)["root"]), dataset="drawn")
    plan = parse_plan({**PLAN, "releases": [release_id], "seed": seed})
    lineage = split_lineage(plan.releases, "drawn", store_of(system.releases))
    return build_evaluation_set(plan, catalog, lineage=lineage).dataset


def test_no_tested_product_was_used_to_fit_the_projection(system: System) -> None:
    release_id = projected(system, seed=3)
    manifest, parts = store_of(system.releases).manifest(release_id), parts_of(system, release_id)
    train, test = parts.ids("train"), parts.ids("test")
    assert manifest.projection.fitted_on == fitted_on("drawn", train, part="train", seed=3)
    assert test
    assert not set(train) & set(test)
    told = evaluated(system, release_id)
    assert (told["strict"], told["tested"], told["fitted_on"], told["chosen_on"]) == ("yes", len(test), 0, 0)
    assert told["catalog"]["split"]["seed"] == 3, "the split is the one that the release was made by"


def test_a_projection_fitted_on_test_products_is_not_strict(system: System) -> None:
    release_id = projected(system)
    fitted = set(parts_of(system, release_id).ids("train"))
    tested = set(parts_of(system, release_id, seed=5).ids("test"))
    assert fitted & tested
    told = evaluated(system, release_id, seed=5)
    assert (told["strict"], told["tested"], told["fitted_on"]) == ("no", len(tested), len(fitted & tested))


def test_adapted_tuned_and_projected_releases_inherit_what_their_parent_was_fitted_on(system: System) -> None:
    first = projected(system, seed=3)
    fitted, tested = set(parts_of(system, first).ids("train")), set(parts_of(system, first, seed=5).ids("test"))
    street = {"dataset": "street", "reader": "synthetic", "root": str(system.catalog("street", count=40, seed=9))}
    catalog = {**{name: params(system)[name] for name in ("dataset", "reader", "root", "limit")}, "seed": 0}
    adapt = {**catalog, "release_id": first, "name": "adapted", "target": {**street, "limit": None}, "share": 0.5}
    adapt |= {"components": None, "whiten": None, "sample_max": 50_000}
    adapted = system.succeeded(system.enqueue(JobKind.ADAPT, adapt)).result
    assert adapted is not None
    tune = {**catalog, "release_id": adapted["release_id"], "name": "tuned", "data": PLAN["data"], "sizes": [4, 8]}
    tune |= {"objective": {"precision@15": 1.0}, "queries": 20, "whiten": False, "augment": 0, "augment_alpha": 0.0}
    tuned = system.succeeded(system.enqueue(JobKind.TUNE, tune)).result
    assert tuned is not None
    copied = system.catalogs / "adapted.safetensors"
    shutil.copyfile(system.releases / adapted["release_id"] / WEIGHTS_FILE, copied)
    again = projected(system, weights=str(copied), seed=8, name="again")
    for release_id in (adapted["release_id"], tuned["release_id"], again):
        parts = parts_of(system, release_id)
        assert set(parts.ids("train")) == fitted, "the split of the first release is that of all"
        assert evaluated(system, release_id)["strict"] == "yes"
        other = evaluated(system, release_id, seed=5)
        assert (other["strict"], other["fitted_on"]) == ("no", len(fitted & tested))
        photographs = evaluated(system, release_id, queries={**street, "limit": None}, galleries=["all"])
        assert photographs["strict"] == "no"
        assert photographs["fitted_on"] == photographs["tested"], "all were shown to the batch normalisation"
    chosen = lineage_of(store_of(system.releases), tuned["release_id"])
    validation = parts_of(system, tuned["release_id"]).ids("validation")
    assert chosen.used("drawn", validation) == (0, len(validation))
    assert evaluated(system, tuned["release_id"], part="validation")["strict"] == "no", "its size was chosen there"


def test_an_evaluation_reports_that_the_origin_of_weights_is_unknown(system: System) -> None:
    backbone = load_backbone(model_entry(TINY_MODEL), weights="seed:21", options={})
    weights = system.catalogs / "foreign.safetensors"
    save_weights(backbone.network, weights)
    told = evaluated(system, projected(system, weights=str(weights), name="foreign"))
    assert told["strict"] == "unknown"
    assert told["why"] == ["unknown: what the weights of file:foreign.safetensors were trained on"]
    assert told["fitted_on"] == 0
    stated = projected(system, weights=str(weights), name="stated", weights_trained_on="noise")
    assert evaluated(system, stated)["strict"] == "yes"
