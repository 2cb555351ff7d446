"""An experiment from its file to its report, as a user runs it. A second run makes nothing again, and steps that cannot
run are named.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from harness.releases import TINY_MODEL, store_of
from harness.system import System
from vitrine_local.cli import main

pytestmark = pytest.mark.slow

DATA = 'data = { label = "subCategory", relevance = ["subCategory"] }'
EXPERIMENT = f"""
number = 7
title = "A small one"
question = "Does a little training help?"
published = [
  {{ release = "plain", evaluation = "asked", mean_average_precision = 0.123, precision_at_15 = 0.456 }},
  {{ release = "unreachable", evaluation = "asked", mean_average_precision = 0.2, precision_at_15 = 0.3 }},
]
[[releases]]
name = "plain"
make = "project"
model = "{TINY_MODEL}"
options = {{ components = 16 }}
[[releases]]
name = "unreachable"
make = "project"
model = "resnet50"
[[releases]]
name = "after-unreachable"
make = "tune"
start = "unreachable"
[[releases]]
name = "trained"
make = "train"
model = "{TINY_MODEL}"
[releases.recipe]
kind = "classify"
{DATA}
optim = {{ epochs = 1, batch = 16 }}
projection = {{ components = [8] }}
[[releases]]
name = "tuned"
make = "tune"
start = "trained"
options = {{ sizes = [4, 8], {DATA} }}
[[releases]]
name = "tuned-by-default"
make = "tune"
start = "plain"
options = {{ sizes = [4], data = {{ least_pictures = 2 }} }}
[[releases]]
name = "adapted"
make = "adapt"
start = "trained"
source = "deepfashion"
[[evaluations]]
name = "asked"
releases = ["plain", "unreachable", "trained", "tuned", "adapted"]
[evaluations.plan]
galleries = ["all"]
{DATA}
[[evaluations]]
name = "by photographs"
releases = ["plain", "adapted"]
queries = "deepfashion"
[evaluations.plan]
galleries = ["all"]
queries_per_kind = 3
{DATA}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(EXPERIMENT)
    return path


def arguments(system: System, file: Path, *more: str) -> list[str]:
    return [
        "experiment", "run", str(file), "--dataset", "drawn", "--reader", "synthetic",
        "--root", str(system.catalog(count=120)), "--weights", f"{TINY_MODEL}=seed:3,input_px=48,resize_px=48",
        "--url", system.url("search_api"), *more,
    ]  # fmt: skip


def test_an_experiment_is_reported_and_a_second_run_makes_nothing_again(
    system: System, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = ["--deepfashion-dataset", "other", "--deepfashion-reader", "synthetic", "--deepfashion-root"]
    photographs.append(str(system.catalog("other", count=60, seed=8)))
    assert main(arguments(system, file, *photographs)) == 0
    said = capsys.readouterr().out
    assert "not made: unreachable: no weights of resnet50 are here" in said
    assert "not made: after-unreachable: unreachable, which it starts from, could not be made" in said
    report = Path(said.rsplit("report: ", 1)[1].strip())
    document = json.loads(report.with_name("report.json").read_text())
    assert sorted(document["releases"]) == ["adapted", "plain", "trained", "tuned", "tuned-by-default"]
    store = store_of(system.releases)
    assert {store.manifest(release_id).model for release_id in document["releases"].values()} == {
        "adapted", "plain", "trained", "tuned", "tuned-by-default",
    }  # fmt: skip
    rows = {(row["evaluation"], row["release"]): row for row in document["rows"]}
    assert rows["asked", "plain"]["published"]["average_precision"] == 0.123
    assert rows["asked", "unreachable"]["ours"]["average_precision"] is None
    assert "no weights" in rows["asked", "unreachable"]["missing"]
    assert 0 < rows["by photographs", "adapted"]["ours"]["precision@15"]["mean"] <= 1
    page = report.read_text()
    assert "A small one" in page
    assert 'href="by-photographs/index.html"' in page
    assert (report.parent / "by-photographs" / "index.html").is_file()
    table = list(csv.DictReader(io.StringIO(report.with_name("report.csv").read_text())))
    assert len(table) == len(document["rows"])
    assert "| asked | plain | all | plain |" in report.with_name("report.md").read_text()

    before = store.ids()
    assert main(arguments(system, file, *photographs, "--json")) == 0
    again = json.loads(capsys.readouterr().out)
    assert store.ids() == before
    assert again["result"]["rows"] == document["rows"]
    assert [note["text"] for note in again["notes"] if "made before" in note["text"]]


def test_steps_that_lack_photographs_are_named(system: System, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(system, file, "--json")) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)["result"]
    assert "deepfashion" in result["missing"]["adapted"]
    document = json.loads(Path(result["report"]).with_name("report.json").read_text())
    assert [one["missing"] for one in document["evaluations"]] == [None, "there is no catalogue for deepfashion here"]


@pytest.mark.parametrize(
    ("named", "weights", "told"),
    [
        ("99", "a=b", "no experiment 99"),
        ("nowhere.toml", "a=b", "nowhere.toml"),
        ("{file}", "resnet50", "MODEL=FILE"),
    ],
)
def test_an_invalid_command_line_is_refused_with_the_reason(
    system: System, file: Path, named: str, weights: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(system, file)
    command[2] = named.format(file=file)
    command[command.index("--weights") + 1] = weights
    assert main(command) in (1, 2)
    assert told in capsys.readouterr().err


def test_the_experiments_of_the_folder_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "list"]) == 0
    assert "Pretrained backbones" in capsys.readouterr().out
