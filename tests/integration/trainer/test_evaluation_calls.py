"""Evaluation and tuning as a user starts them: by the search API, and by the commands that call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.releases import store_of
from harness.system import System
from vitrine.releases import Augmentation
from vitrine_local.cli import main

pytestmark = pytest.mark.slow

DATA = {"label": "subCategory", "relevance": ["subCategory"]}


@pytest.fixture(scope="module")
def release(system: System) -> str:
    return system.release()


def refused(answer: httpx.Response, status: int, told: str) -> None:
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["success"] is False
    assert told in json.dumps(problem)


def body(system: System, **changes: Any) -> dict[str, Any]:
    root = str(system.catalog(count=120))
    return {"dataset": "drawn", "reader": "synthetic", "root": root, **changes}


def test_an_evaluation_that_cannot_be_done_is_refused_before_it_starts(system: System, release: str) -> None:
    post = system.api.post
    gone = {"releases": ["gone-0123456789"]}
    refused(post("/api/jobs/evaluate", json=body(system, plan=gone)), 404, "gone-0123456789")
    wrong = {"releases": [release], "measures": ["luck"]}
    refused(post("/api/jobs/evaluate", json=body(system, plan=wrong)), 422, "luck")
    tune = {"release_id": release, "name": "tuned"}
    refused(post("/api/jobs/tune", json=body(system, **tune, objective={"luck": 1})), 422, "luck")
    refused(post("/api/jobs/tune", json=body(system, **tune, objective={"precision@15": 0})), 422, "above 0")
    refused(
        post("/api/jobs/tune", json=body(system, **tune, sizes=[0])),
        422,
        "sizes.0: Input should be greater than or equal to 1",
    )
    refused(post("/api/jobs/tune", json=body(system, release_id="gone-0123456789", name="m")), 404, "gone-0123456789")


def test_a_release_is_evaluated_tuned_and_compared_with_what_became_of_it(
    system: System, release: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, url = str(system.catalog(count=120)), system.url("search_api")
    catalog = ["--dataset", "drawn", "--reader", "synthetic", "--root", root, "--url", url]
    tune = ["tune", release, "--name", "tuned", "--label", "subCategory", "--augment", "5", "--augment-alpha", "3"]
    assert main([*tune, *catalog, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    tuned = result["release_id"]
    augmented = store_of(system.releases).manifest(result["augmented_release_id"])
    assert augmented.model == "tuned_augmented"
    assert augmented.parent == tuned
    assert augmented.augmentation == Augmentation(neighbours=5, alpha=3.0)
    manifest = store_of(system.releases).manifest(tuned)
    assert manifest.parent == release
    assert manifest.recipe is not None
    assert manifest.recipe["kind"] == "tune"
    assert manifest.dim == result["dim"]
    story = system.releases / tuned / "training"
    assert sorted(path.name for path in story.iterdir()) == ["tuning.json", "tuning.png"]

    plan = tmp_path / "plan.toml"
    plan.write_text(
        'releases = ["x-0123456789"]\ngraded = ["subCategory"]\nqueries = 20\n'
        '[data]\nlabel = "subCategory"\nrelevance = ["subCategory"]\n'
        '[[ways]]\nname = "plain"\n[[ways]]\nname = "expanded"\nexpand = 4\n'
    )
    command = ["evaluate", release, tuned, "--plan", str(plan), "--title", "Before and after", *catalog]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"strict? {tuned}: unknown: fitted on 0 and chosen on 0 of " in said, "of its parent nothing is recorded"
    report = Path(said.rsplit("report: ", 1)[1].strip())
    assert report.is_file()
    assert "Before and after" in report.read_text()
    document = json.loads(report.with_name("report.json").read_text())
    assert [one["id"] for one in document["releases"]] == [release, tuned]
    assert len(document["lines"]) == 8
    assert document["queries"] == {"from": "test", "count": 20}
    assert f"{document['lines'][0]['measures']['average_precision']['mean']:.3f}" in said


def test_half_of_a_second_catalogue_or_no_catalogue_is_told(
    system: System, release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ["--url", system.url("search_api")]
    assert main(["evaluate", release, *url]) == 2
    assert "--root" in capsys.readouterr().err
    half = ["--dataset", "drawn", "--root", "/x", "--photographs-root", "/y"]
    assert main(["evaluate", release, *half, *url]) == 2
    assert "belong together" in capsys.readouterr().err
    assert main(["evaluate", "--plan", "/nowhere.toml", *url]) == 2
    assert "/nowhere.toml" in capsys.readouterr().err
