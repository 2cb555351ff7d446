"""Experiment files: the six of the repository, and invalid ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vitrine.errors import ParameterInvalid
from vitrine.experiments import parse_experiment, read_experiment

FILES = sorted((Path(__file__).parents[2] / "experiments").glob("*.toml"))
LEAST: dict[str, Any] = {
    "number": 1,
    "title": "T",
    "question": "Q",
    "releases": [{"name": "one", "make": "project", "model": "resnet50"}],
    "evaluations": [{"name": "e", "releases": ["one"]}],
}
TRAINED = {"name": "two", "make": "train", "start": "one", "recipe": {"kind": "retrain"}}


def test_the_six_experiments_are_numbered_in_order() -> None:
    assert [read_experiment(path).number for path in FILES] == [1, 2, 3, 4, 5, 6]
    assert all(path.name.startswith(f"{number}-") for number, path in enumerate(FILES, start=1))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_experiment_has_a_small_network_and_published_figures(path: Path) -> None:
    experiment = read_experiment(path)
    assert any(step.model == "mobilenetv2_100" for step in experiment.releases)
    assert experiment.published
    for one in experiment.published:
        assert 0 < one.mean_average_precision < one.precision_at_15 < 1


def test_a_named_recipe_is_inserted_into_its_release() -> None:
    content = {**LEAST, "recipes": {"again": TRAINED["recipe"]}, "releases": [*LEAST["releases"], TRAINED]}
    named = {**content, "releases": [*LEAST["releases"], {**TRAINED, "recipe": "again"}]}
    assert parse_experiment(named) == parse_experiment({**content, "recipes": {}})
    sent = parse_experiment(named).model_dump(mode="json")
    assert parse_experiment(sent) == parse_experiment(named), "what the search API is sent is the same"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"releases": [{"name": "one", "make": "project"}]}, "needs either a model or a step"),
        ({"releases": [{**TRAINED, "name": "one"}]}, "which no earlier step creates"),
        ({"releases": [*LEAST["releases"], *LEAST["releases"]]}, "two releases have the name"),
        ({"releases": [*LEAST["releases"], {**TRAINED, "recipe": {"kind": "dream"}}]}, "kind"),
        ({"releases": [*LEAST["releases"], {**TRAINED, "recipe": "nowhere"}]}, "nowhere"),
        ({"releases": [{"name": "one", "make": "tune", "model": "resnet50"}]}, "needs a step to start from"),
        ({"evaluations": [{"name": "e", "releases": ["other"]}]}, "no step creates"),
        ({"evaluations": [{"name": "e", "releases": ["one"], "plan": {"protocol": "kind"}}]}, "protocol"),
        (
            {"published": [{"release": "one", "evaluation": "f", "mean_average_precision": 0, "precision_at_15": 0}]},
            "which the file does not have",
        ),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_invalid_experiment_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        parse_experiment({**LEAST, **changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "toml cannot be read: No such file or directory$"), (b"= nothing", "not TOML"), (b"\xff", "read")],
)
def test_an_invalid_experiment_file_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterInvalid, match=message) as refused:
        read_experiment(path)
    assert str(path) in refused.value.detail
