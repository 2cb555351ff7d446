"""Training and adaptation as a user starts them: by the search API, and by the commands that call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.releases import TINY_MODEL, store_of
from harness.system import System
from vitrine.jobs import JobState
from vitrine_local.cli import main

RECIPE = f"""
kind = "metric"
name = "shop"
[catalog]
dataset = "drawn"
reader = "synthetic"
[data]
label = "subCategory"
relevance = ["subCategory"]
[model]
model = "{TINY_MODEL}"
weights = "seed:0"
embedding = 16
options = {{ input_px = 48, resize_px = 48 }}
[[terms]]
kind = "cosface"
[optim]
epochs = 2
batch = 16
[projection]
components = [8]
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(RECIPE)
    return path


def body(system: System, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": "drawn",
        "reader": "synthetic",
        "root": str(system.catalog(count=90)),
        "recipe": {"kind": "classify", "name": "m", "model": {"model": TINY_MODEL, "weights": "seed:0"}, **changes},
    }


def refused(answer: httpx.Response, status: int, told: str) -> None:
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["success"] is False
    assert told in json.dumps(problem)


def test_a_recipe_that_is_none_is_refused_with_the_field_that_is_wrong(system: System) -> None:
    post = system.api.post
    refused(post("/api/jobs/train", json=body(system, kind="dream")), 422, "kind")
    refused(post("/api/jobs/train", json=body(system, optim={"epochs": 0})), 422, "epochs")
    refused(post("/api/jobs/train", json=body(system, name="no name")), 400, "no name")
    refused(post("/api/jobs/train", json=body(system, model={"release": "gone-0123456789"})), 404, "gone-0123456789")
    refused(post("/api/jobs/train", json={**body(system), "root": "/etc"}), 422, "VITRINE_CATALOG_ROOTS")
    refused(post("/api/jobs/train", json=body(system, unlabelled={"share": 0.5})), 400, "unlabelled")
    refused(post("/api/jobs/train", json=body(system, street={"share": 0.5})), 400, "street")
    with_street = body(system, street={"share": 0.5})
    refused(post("/api/jobs/train", json={**with_street, "street": "/etc"}), 422, "VITRINE_CATALOG_ROOTS")
    refused(post("/api/jobs/train", json={**with_street, "street": "people"}), 422, "not an absolute path")
    weights = {"model": TINY_MODEL, "weights": "../../secret.safetensors"}
    refused(post("/api/jobs/train", json=body(system, model=weights)), 422, "safetensors")


def test_a_release_that_is_not_there_cannot_be_adapted(system: System) -> None:
    root = str(system.catalog(count=90))
    adapt = {"dataset": "drawn", "reader": "synthetic", "root": root, "release_id": "gone-0123456789", "name": "m"}
    refused(system.api.post("/api/jobs/adapt", json=adapt), 404, "gone-0123456789")
    refused(system.api.post("/api/jobs/adapt", json={**adapt, "share": 2}), 422, "share")


def test_a_repeated_post_is_the_same_training(system: System) -> None:
    headers = {"Idempotency-Key": "once"}
    job = body(system, optim={"epochs": 1}, data={"label": "subCategory", "relevance": ["subCategory"]})
    one, two = (system.api.post("/api/jobs/train", json=job, headers=headers).json()["job"]["id"] for _ in range(2))
    assert one == two
    system.succeeded(one)


def test_a_recipe_file_becomes_a_release_and_the_release_an_adapted_one(
    system: System, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(system.catalog(count=90))
    assert main(["train", str(recipe), "--root", root, "--url", system.url("search_api")]) == 0
    said = capsys.readouterr().out
    assert "epoch 2: loss" in said
    assert "P@15, unseen products only" in said
    release_id = said.rsplit("release: ", 1)[1].split()[0]
    manifest = store_of(system.releases).manifest(release_id)
    assert manifest.model == "shop"
    assert manifest.recipe is not None
    assert manifest.recipe["optim"]["epochs"] == 2

    other = str(system.catalog("other", count=60, seed=8))
    command = ["adapt", release_id, "--name", "shop-other", "--dataset", "drawn", "--reader", "synthetic"]
    target = ["--target-dataset", "other", "--target-reader", "synthetic", "--target-root", other, "--share", "0.5"]
    assert main([*command, "--root", root, *target, "--json", "--url", system.url("search_api")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["state"] == JobState.SUCCEEDED
    adapted = store_of(system.releases).manifest(record["result"]["release_id"])
    assert adapted.parent == release_id
    assert adapted.labels == manifest.labels
    assert adapted.classifier_sha256 == manifest.classifier_sha256 is not None
    assert adapted.recipe is not None
    assert adapted.recipe["trained_by"] == manifest.recipe


def test_a_recipe_that_goes_on_after_another_has_that_one_trained_first(
    system: System, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = recipe.with_name("again.toml")
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith(("model =", "weights ="))]
    text = "\n".join(lines).replace('name = "shop"', 'name = "shop-again"')
    again.write_text(f'after = "{recipe.name}"\n{text}\n')
    command = ["train", str(again), "--root", str(system.catalog(count=90)), "--url", system.url("search_api")]
    assert main([*command, "--no-wait"]) == 2
    assert "--no-wait" in capsys.readouterr().err
    assert main([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    manifest = store_of(system.releases).manifest(record["result"]["release_id"])
    assert manifest.model == "shop-again"
    assert manifest.parent is not None
    first = store_of(system.releases).manifest(manifest.parent)
    assert first.model == "shop"
    assert main([*command, "--release", manifest.parent, "--no-wait"]) == 0
    job_id = capsys.readouterr().out.strip()
    assert system.jobs.get(job_id).params["recipe"]["model"]["release"] == manifest.parent
    system.succeeded(job_id)


def test_what_the_command_line_says_goes_before_the_recipe(
    system: System, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(recipe), "--root", str(system.catalog(count=90)), "--url", system.url("search_api")]
    assert main([*command, "--weights", "seed:7", "--limit", "80", "--no-wait"]) == 0
    job_id = capsys.readouterr().out.strip()
    params = system.jobs.get(job_id).params
    assert params["recipe"]["model"]["weights"] == "seed:7"
    assert params["limit"] == 80
    system.succeeded(job_id)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.toml"], "nowhere.toml"),
        (["{recipe}"], "--root"),
        (["{recipe}", "--root", "{root}", "--release", "x-0123456789", "--weights", "seed:1"], "--weights"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(
    system: System, recipe: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    filled = [one.format(recipe=recipe, root=system.catalog(count=90)) for one in arguments]
    assert main(["train", *filled, "--url", system.url("search_api")]) == 2
    assert told in capsys.readouterr().err
