"""The forms that start jobs: their defaults make a body, and what is wrong with a value is said at its field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search_api.pages.job_bodies import FormInvalid, body_of, fault_of
from search_api.pages.job_choices import catalog_folders, recipe_names, recipe_text
from search_api.pages.job_fields import FORMS
from search_api.settings import Settings
from vitrine.errors import CatalogRootRefused, NotFound, ParameterInvalid
from vitrine.jobs import JobKind
from vitrine.jobs.params.evaluation import EvaluateParams
from vitrine.jobs.params.releases import TrainParams, TuneParams

RELEASE = "net-0123456789"
RECIPE = 'kind = "metric"\nname = "mine"\n[catalog]\ndataset = "x"\n[model]\nmodel = "mobilenetv2_100"\n'


def values_of(kind: JobKind, **changes: Any) -> dict[str, Any]:
    """A form as it opens, with what has to be filled in."""
    filled = {
        "dataset": "shop", "root": "/data/shop", "release_id": RELEASE, "releases": (RELEASE,), "name": "better",
        "model": "mobilenetv2_100", "recipe": RECIPE,
    }  # fmt: skip
    form = FORMS[kind]
    begun = {field.name: field.default for field in form.fields}
    return {**begun, **{name: value for name, value in {**filled, **changes}.items() if form.named(name)}}


def faults_of(kind: JobKind, **changes: Any) -> dict[str, str]:
    with pytest.raises(FormInvalid) as invalid:
        body_of(FORMS[kind], values_of(kind, **changes))
    return invalid.value.faults


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_as_it_opens_makes_a_body_once_what_is_needed_is_filled_in(kind: JobKind) -> None:
    body = body_of(FORMS[kind], values_of(kind))
    assert body.model_dump()["dataset"] == "shop"


@pytest.mark.parametrize("kind", FORMS)
def test_an_empty_form_says_at_each_field_what_is_needed(kind: JobKind) -> None:
    form = FORMS[kind]
    with pytest.raises(FormInvalid) as invalid:
        body_of(form, {field.name: () if field.control == "checks" else "" for field in form.fields})
    assert set(invalid.value.faults) == {field.name for field in form.fields if field.required}


def test_a_wrong_number_is_said_at_its_field_in_plain_words() -> None:
    assert faults_of(JobKind.VISUALIZE, count="many") == {"count": "A whole number is needed."}
    assert faults_of(JobKind.VISUALIZE, count="1") == {"count": "At least 8."}
    assert faults_of(JobKind.EVALUATE, queries="0") == {"queries": "At least 1."}


def test_a_recipe_goes_as_it_is_typed_and_its_faults_stay_with_it() -> None:
    body = body_of(FORMS[JobKind.TRAIN], values_of(JobKind.TRAIN))
    assert isinstance(body, TrainParams)
    assert body.recipe.name == "mine"
    assert "not TOML" in faults_of(JobKind.TRAIN, recipe="kind = ")["recipe"]
    assert "name" in faults_of(JobKind.TRAIN, recipe='kind = "metric"')["recipe"]


def test_a_recipe_that_goes_on_after_another_needs_the_release_that_one_made() -> None:
    further = 'after = "first.toml"\nkind = "retrain"\nname = "mine"\n'
    assert "first.toml" in faults_of(JobKind.TRAIN, recipe=further)["release"]
    body = body_of(FORMS[JobKind.TRAIN], values_of(JobKind.TRAIN, recipe=further, release=RELEASE))
    assert isinstance(body, TrainParams)
    assert body.recipe.model.release == RELEASE


def test_lists_and_plans_come_together_from_several_fields() -> None:
    tune = body_of(FORMS[JobKind.TUNE], values_of(JobKind.TUNE, sizes="32, 64 128"))
    assert isinstance(tune, TuneParams)
    assert tune.sizes == [32, 64, 128]
    evaluate = body_of(FORMS[JobKind.EVALUATE], values_of(JobKind.EVALUATE, protocol="faults"))
    assert isinstance(evaluate, EvaluateParams)
    assert evaluate.plan.releases == (RELEASE,)
    assert "target_root" in faults_of(JobKind.ADAPT, target_dataset="other")


def test_what_the_service_refuses_is_said_at_the_field_it_is_about() -> None:
    form = FORMS[JobKind.INDEX]
    assert fault_of(form, CatalogRootRefused("it lies outside")) == {"root": "It lies outside."}
    assert fault_of(form, ParameterInvalid("dataset name 'a b' is not allowed")) == {
        "dataset": "Dataset name 'a b' is not allowed."
    }
    assert fault_of(form, ParameterInvalid("something else")) == {"": "Something else."}


def test_catalogue_folders_and_recipe_files_are_offered_and_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "catalogs" / "shop").mkdir(parents=True)
    (tmp_path / "catalogs" / ".hidden").mkdir()
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "styles.csv").touch()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "one.toml").write_text(RECIPE)
    (tmp_path / "recipes" / "notes.md").touch()
    (tmp_path / "secret.toml").write_text("secret")
    roots = (tmp_path / "catalogs", tmp_path / "single", tmp_path / "absent")
    settings = Settings(catalog_roots=roots, recipes_dir=tmp_path / "recipes")
    assert catalog_folders(settings) == (str(tmp_path / "catalogs" / "shop"), str(tmp_path / "single"))
    assert recipe_names(settings) == ("one.toml",)
    assert recipe_text(settings, "one.toml") == RECIPE
    for name in ("../secret.toml", "absent.toml", "notes.md"):
        with pytest.raises(NotFound):
            recipe_text(settings, name)
