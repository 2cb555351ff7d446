"""The forms that start jobs: their defaults are valid parameters, and an error is shown at its field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search_api.pages.job_bodies import FormInvalid, body_of, fault_of
from search_api.pages.job_choices import catalog_folders, recipe_names, recipe_text
from search_api.pages.job_fields import FORMS
from search_api.settings import Settings
from vitrine.catalogs.registry import READERS
from vitrine.errors import CatalogRootRefused, NotFound, ParameterInvalid
from vitrine.jobs import JobKind
from vitrine.jobs.params.catalog import IndexParams
from vitrine.jobs.params.evaluation import EvaluateParams
from vitrine.jobs.params.releases import TrainParams, TuneParams

RELEASE = "net-0123456789"
RECIPE = 'kind = "metric"\nname = "mine"\n[catalog]\ndataset = "x"\n[model]\nmodel = "mobilenetv2_100"\n'


def values_of(kind: JobKind, **changes: Any) -> dict[str, Any]:
    """The defaults of a form, with the required fields filled in."""
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
def test_the_defaults_of_a_form_are_valid_once_the_required_fields_are_filled_in(kind: JobKind) -> None:
    body = body_of(FORMS[kind], values_of(kind))
    assert body.model_dump()["dataset"] == "shop"


@pytest.mark.parametrize("kind", FORMS)
def test_an_empty_form_marks_each_required_field(kind: JobKind) -> None:
    form = FORMS[kind]
    with pytest.raises(FormInvalid) as invalid:
        body_of(form, {field.name: () if field.control == "checks" else "" for field in form.fields})
    assert set(invalid.value.faults) == {field.name for field in form.fields if field.required}


def test_a_wrong_number_is_explained_at_its_field() -> None:
    assert faults_of(JobKind.VISUALIZE, count="many") == {"count": "A whole number is needed."}
    assert faults_of(JobKind.VISUALIZE, count="1") == {"count": "At least 8."}
    assert faults_of(JobKind.EVALUATE, queries="0") == {"queries": "At least 1."}


def test_a_recipe_is_parsed_as_typed_and_its_errors_are_at_its_field() -> None:
    body = body_of(FORMS[JobKind.TRAIN], values_of(JobKind.TRAIN))
    assert isinstance(body, TrainParams)
    assert body.recipe.name == "mine"
    assert "not TOML" in faults_of(JobKind.TRAIN, recipe="kind = ")["recipe"]
    assert "name" in faults_of(JobKind.TRAIN, recipe='kind = "metric"')["recipe"]


def test_a_recipe_that_continues_another_needs_the_release_of_that_one() -> None:
    further = 'after = "first.toml"\nkind = "retrain"\nname = "mine"\n'
    assert "first.toml" in faults_of(JobKind.TRAIN, recipe=further)["release"]
    body = body_of(FORMS[JobKind.TRAIN], values_of(JobKind.TRAIN, recipe=further, release=RELEASE))
    assert isinstance(body, TrainParams)
    assert body.recipe.model.release == RELEASE


def test_lists_and_plans_are_built_from_several_fields() -> None:
    tune = body_of(FORMS[JobKind.TUNE], values_of(JobKind.TUNE, sizes="32, 64 128"))
    assert isinstance(tune, TuneParams)
    assert tune.sizes == [32, 64, 128]
    evaluate = body_of(FORMS[JobKind.EVALUATE], values_of(JobKind.EVALUATE, protocol="faults"))
    assert isinstance(evaluate, EvaluateParams)
    assert evaluate.plan.releases == (RELEASE,)
    assert "target_root" in faults_of(JobKind.ADAPT, target_dataset="other")


def test_columns_are_named_in_lines_and_kept_or_reset() -> None:
    index = JobKind.INDEX

    def mapping(text: str) -> object:
        return body_of(FORMS[index], values_of(index, mapping=text)).model_dump()["mapping"]

    assert mapping(" id = Handle \n\nprice=Variant Price\npicture=Front\npicture=Back=Side") == {
        "id": "Handle", "price": "Variant Price", "picture": "Front,Back=Side",
    }  # fmt: skip
    assert mapping(" \n") is None
    assert mapping("None") == {}
    assert "'Handle' is not NAME=COLUMN" in faults_of(index, mapping="Handle")["mapping"]
    assert "mapping" in faults_of(index, mapping=f"{'n' * 65}=Handle")
    assert "mapping" in faults_of(JobKind.TRAIN, mapping="none\nid=Handle")


def test_an_index_job_repeats_and_reads_every_picture_if_the_form_says_so() -> None:
    body = body_of(FORMS[JobKind.INDEX], values_of(JobKind.INDEX, every="90 min", full="true"))
    assert isinstance(body, IndexParams)
    assert (body.every, body.full) == ("90min", True)
    for every in ("daily", "5s"):
        assert "interval" in faults_of(JobKind.INDEX, every=every)["every"]


def test_every_reader_can_be_chosen() -> None:
    reader = FORMS[JobKind.INDEX].named("reader")
    assert reader is not None
    assert [name for name, _ in reader.options] == ["", *READERS]


def test_an_error_of_the_service_is_shown_at_its_field() -> None:
    form = FORMS[JobKind.INDEX]
    assert fault_of(form, CatalogRootRefused("it lies outside")) == {"root": "It lies outside."}
    assert fault_of(form, ParameterInvalid("dataset name 'a b' is not allowed")) == {
        "dataset": "Dataset name 'a b' is not allowed."
    }
    assert fault_of(form, ParameterInvalid("something else")) == {"": "Something else."}


def test_only_catalogue_folders_and_recipe_files_are_offered(tmp_path: Path) -> None:
    (tmp_path / "catalogs" / "shop").mkdir(parents=True)
    (tmp_path / "catalogs" / ".hidden").mkdir()
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "styles.csv").touch()
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "products.JSONL.gz").touch()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "one.toml").write_text(RECIPE)
    (tmp_path / "recipes" / "notes.md").touch()
    (tmp_path / "secret.toml").write_text("secret")
    roots = (tmp_path / "catalogs", tmp_path / "single", tmp_path / "export", tmp_path / "absent")
    settings = Settings(catalog_roots=roots, recipes_dir=tmp_path / "recipes")
    found = (tmp_path / "catalogs" / "shop", tmp_path / "export", tmp_path / "single")
    assert catalog_folders(settings) == tuple(map(str, found))
    assert recipe_names(settings) == ("one.toml",)
    assert recipe_text(settings, "one.toml") == RECIPE
    for name in ("../secret.toml", "absent.toml", "notes.md"):
        with pytest.raises(NotFound):
            recipe_text(settings, name)
