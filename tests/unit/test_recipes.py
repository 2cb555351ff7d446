"""Recipes: what is accepted, what is refused, and how errors are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vitrine.errors import ParameterInvalid
from vitrine.recipe_files import read_chain, read_recipe
from vitrine.recipes import Recipe, changed, parse_recipe

LEAST: dict[str, Any] = {"kind": "classify", "name": "m", "model": {"model": "resnet50"}}


def test_a_field_that_a_recipe_omits_is_recorded_with_its_default() -> None:
    written = parse_recipe(LEAST).as_json()
    assert written["optim"]["epochs"] == 10
    assert written["data"]["relevance"] == ["articleType"]
    assert parse_recipe(written) == parse_recipe(LEAST)


@pytest.mark.parametrize(
    ("changes", "message"),
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
        ({"street": {"share": 0}}, "street.share"),
        ({"street": {"coarse_scale": [0.9, 0.2]}}, "coarse_scale must be two numbers above 0"),
        ({"maps": {"copies": 2}}, "set model.frozen"),
        ({"maps": {}, "unlabelled": {}, "model": {"model": "resnet50", "frozen": ["conv1"]}}, "cannot be kept as maps"),
    ],
)
def test_an_invalid_recipe_is_refused_with_the_name_of_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        parse_recipe({**LEAST, **changes})
    assert message in refused.value.detail


def test_a_recipe_file_may_name_its_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('kind = "classify"\nname = "m"\n[catalog]\ndataset = "drawn"\n[model]\nmodel = "resnet50"\n')
    recipe, catalog = read_recipe(path)
    assert isinstance(recipe, Recipe)
    assert catalog == {"dataset": "drawn"}


@pytest.mark.parametrize("content", [b"kind = ", b"\xff\xfe", b"catalog = 3\nkind='classify'\nname='m'\n"])
def test_a_file_that_is_not_a_recipe_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ParameterInvalid, match=r"broken\.toml"):
        read_recipe(path)


def test_a_missing_recipe_is_reported_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ParameterInvalid, match=r"nowhere\.toml"):
        read_recipe(tmp_path / "nowhere.toml")


def test_another_start_or_teacher_is_validated_like_the_recipe() -> None:
    recipe = parse_recipe(LEAST)
    assert changed(recipe, weights="seed:3").model.weights == "seed:3"
    started = changed(recipe, release="x-0123456789")
    assert (started.model.release, started.model.model) == ("x-0123456789", None)
    with pytest.raises(ParameterInvalid, match="--weights"):
        changed(started, weights="seed:3")
    with pytest.raises(ParameterInvalid, match="teacher"):
        changed(recipe, teacher="x-0123456789")


def chain(folder: Path, *links: tuple[str, str | None]) -> Path:
    """Recipe files with these names, each continuing the one before. Returns the last path."""
    for name, after in links:
        start = f'after = "{after}"\n' if after else ""
        model = "" if after else '[model]\nmodel = "resnet50"\n'
        path = folder / f"{name}.toml"
        path.write_text(f'{start}kind = "classify"\nname = "{name}"\n{model}')
    return path


def test_chained_recipes_are_listed_in_the_order_of_training(tmp_path: Path) -> None:
    path = chain(tmp_path, ("first", None), ("second", "first.toml"), ("third", "second.toml"))
    files = read_chain(path)
    assert [file.recipe.name for file in files] == ["first", "second", "third"]
    assert [file.recipe.model.release for file in files] == [None, "first-0000000000", "second-0000000000"]
    assert read_recipe(path) == files[-1]


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([("one", "two.toml"), ("two", "one.toml")], "continues after"),
        ([("one", "one.toml")], "continues after"),
        ([("one", "gone.toml")], r"gone\.toml"),
    ],
)
def test_a_chain_of_recipes_without_a_beginning_is_refused(
    tmp_path: Path, links: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        read_chain(chain(tmp_path, *links))


def test_a_chained_recipe_that_names_a_model_is_refused(tmp_path: Path) -> None:
    path = chain(tmp_path, ("first", None), ("second", "first.toml"))
    path.write_text(path.read_text() + '[model]\nmodel = "resnet50"\n')
    with pytest.raises(ParameterInvalid, match="model or a release"):
        read_chain(path)


def test_an_error_in_a_chained_recipe_names_its_file(tmp_path: Path) -> None:
    path = chain(tmp_path, ("first", None), ("second", "first.toml"))
    first = tmp_path / "first.toml"
    first.write_text(first.read_text() + "[optim]\nepochs = 0\n")
    with pytest.raises(ParameterInvalid, match=r"first\.toml.*epochs"):
        read_chain(path)


def test_an_after_field_that_is_not_a_name_is_refused(tmp_path: Path) -> None:
    path = chain(tmp_path, ("first", None))
    path.write_text("after = 3\n" + path.read_text())
    with pytest.raises(ParameterInvalid, match="'after'"):
        read_chain(path)
