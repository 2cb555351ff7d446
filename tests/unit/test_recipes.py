"""Recipes: what is read, what is refused, and how a fault is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vitrine.errors import ParameterInvalid
from vitrine.recipes import Recipe, changed, parse_recipe, read_recipe

LEAST: dict[str, Any] = {"kind": "classify", "name": "m", "model": {"model": "resnet50"}}


def test_what_a_recipe_leaves_out_has_a_default_that_is_written_out() -> None:
    written = parse_recipe(LEAST).as_json()
    assert written["optim"]["epochs"] == 10
    assert written["data"]["relevance"] == ["articleType"]
    assert parse_recipe(written) == parse_recipe(LEAST)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "dream"}, "kind"),
        ({"name": "no spaces"}, "name"),
        ({"model": {}}, "model or a release"),
        ({"model": {"model": "resnet50", "release": "x-0123456789"}}, "model or a release"),
        ({"kind": "distill"}, "teacher"),
        ({"teacher": "x-0123456789"}, "teacher"),
        ({"kind": "retrain"}, "model.release"),
        ({"kind": "distill", "teacher": "x-0123456789", "unlabelled": {}}, "unlabelled"),
        ({"data": {"train_on": ["train", "validation"]}, "validation": {"patience": 2}}, "validation.patience"),
        ({"optim": {"epochs": 0}}, "optim.epochs"),
        ({"optim": {"learning_rat": 1}}, "optim.learning_rat"),
        ({"sampler": {"classes": 4}}, "per_class"),
        ({"terms": [{"kind": "hinge"}]}, "terms.0.kind"),
        ({"data": {"relevance": ["no-such name"]}}, "no-such name"),
        ({"augment": {"flip": 2}}, "augment.flip"),
        ({"augment": {"undress": 0.5}}, "background"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_by_the_name_of_the_field(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        parse_recipe({**LEAST, **changes})
    assert told in refused.value.detail


def test_a_recipe_file_may_name_its_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('kind = "classify"\nname = "m"\n[catalog]\ndataset = "drawn"\n[model]\nmodel = "resnet50"\n')
    recipe, catalog = read_recipe(path)
    assert isinstance(recipe, Recipe)
    assert catalog == {"dataset": "drawn"}


@pytest.mark.parametrize("content", [b"kind = ", b"\xff\xfe", b"catalog = 3\nkind='classify'\nname='m'\n"])
def test_a_file_that_is_no_recipe_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ParameterInvalid, match=r"broken\.toml"):
        read_recipe(path)


def test_a_missing_recipe_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid, match=r"nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")


def test_another_start_or_teacher_is_checked_as_the_recipe_was() -> None:
    recipe = parse_recipe(LEAST)
    assert changed(recipe, weights="seed:3").model.weights == "seed:3"
    started = changed(recipe, release="x-0123456789")
    assert (started.model.release, started.model.model) == ("x-0123456789", None)
    with pytest.raises(ParameterInvalid, match="--weights"):
        changed(started, weights="seed:3")
    with pytest.raises(ParameterInvalid, match="teacher"):
        changed(recipe, teacher="x-0123456789")
