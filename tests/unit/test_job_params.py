"""Job parameters: one model validates requests and records, including those of earlier versions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from search_api.jobs.service import PARAMS, resolved
from search_api.settings import Settings
from vitrine.errors import ModelUnknown, ParameterInvalid, ReleaseMismatch, ReleaseNotFound, WeightsUnusable
from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.catalog import DeleteParams, IndexParams, UpsertParams
from vitrine.jobs.params.evaluation import EvaluateParams, ExperimentParams, VisualizeParams
from vitrine.jobs.params.releases import AdaptParams, ProjectParams, TrainParams, TuneParams
from vitrine.releases import ReleaseStore

CATALOG = {"dataset": "shop", "root": "/data/shop"}
RELEASE = "net-0123456789"
RECIPE = {"kind": "metric", "name": "mine", "model": {"model": "resnet50"}}
EXPERIMENT = {
    "number": 1,
    "title": "One",
    "question": "Does it help?",
    "releases": [{"name": "plain", "make": "project", "model": "resnet50"}],
    "evaluations": [{"name": "asked", "releases": ["plain"]}],
}
REQUESTS: dict[JobKind, dict[str, Any]] = {
    JobKind.INDEX: {**CATALOG, "model": "net", "allowRemoval": True},
    JobKind.PROJECT: {**CATALOG, "model": "timm:resnet18", "options": {"input_px": 64}},
    JobKind.TRAIN: {**CATALOG, "recipe": RECIPE},
    JobKind.ADAPT: {**CATALOG, "release_id": RELEASE, "name": "new", "target": {"dataset": "other", "root": "/o"}},
    JobKind.TUNE: {**CATALOG, "release_id": RELEASE, "name": "new", "sizes": [8, 16]},
    JobKind.EVALUATE: {**CATALOG, "plan": {"releases": [RELEASE]}, "queries": CATALOG},
    JobKind.VISUALIZE: {**CATALOG, "release_id": RELEASE, "methods": ["umap", "umap"]},
    JobKind.HEALTH: {"dataset": "shop", "model": "net", "label": "subCategory", "most": 50},
    JobKind.EXPERIMENT: {
        "experiment": EXPERIMENT,
        "catalogue": CATALOG,
        "weights": {"resnet50": {"weights": "seed:1"}},
    },
}


def record(kind: JobKind, params: dict[str, Any]) -> JobRecord:
    return JobRecord(id="0" * 21, kind=kind, params=params, created_at="2026-01-01T00:00:00.000+00:00")


@pytest.mark.parametrize("kind", PARAMS, ids=str)
def test_a_record_returns_the_parameters_of_the_request(kind: JobKind) -> None:
    params = PARAMS[kind].model_validate(REQUESTS[kind])
    assert PARAMS[kind].of(record(kind, params.as_record())) == params


@pytest.mark.parametrize("kind", PARAMS, ids=str)
def test_an_unknown_member_is_refused_in_a_request_and_ignored_in_a_record(kind: JobKind) -> None:
    content = {**REQUESTS[kind], "collection": "shop--net"}
    with pytest.raises(ValidationError, match="collection"):
        PARAMS[kind].model_validate(content)
    PARAMS[kind].of(record(kind, PARAMS[kind].model_validate(REQUESTS[kind]).as_record() | {"collection": "x"}))


def test_a_record_names_the_model_of_the_new_release() -> None:
    assert TrainParams.model_validate(REQUESTS[JobKind.TRAIN]).as_record()["model"] == "mine"
    assert AdaptParams.model_validate(REQUESTS[JobKind.ADAPT]).as_record()["model"] == "new"
    assert TuneParams.model_validate(REQUESTS[JobKind.TUNE]).as_record()["model"] == "new"


def test_a_record_with_the_field_names_of_older_workers_can_be_read() -> None:
    assert IndexParams.model_validate(REQUESTS[JobKind.INDEX]).as_record()["allow_removal"] is True
    assert UpsertParams(dataset="shop", product_id="1").as_record() == {"dataset": "shop", "product_id": "1"}
    assert UpsertParams(dataset="shop", product_id="1", restore=True).as_record()["restore"] is True
    assert DeleteParams.of(record(JobKind.DELETE, {"dataset": "shop", "product_id": "1"})).product_id == "1"


def test_records_of_earlier_versions_can_be_read() -> None:
    index = {**CATALOG, "reader": "folder", "limit": None, "model": "net", "release_id": RELEASE}
    assert not IndexParams.of(record(JobKind.INDEX, index)).allow_removal
    project = {**CATALOG, "reader": "folder", "model": "net", "weights": "seed:0", "options": {}, "name": "of a step"}
    assert ProjectParams.of(record(JobKind.PROJECT, project)).data == ProjectParams(**CATALOG, model="net").data
    evaluate = {**CATALOG, "plan": {"releases": [RELEASE]}, "queries": None, "title": "Evaluation"}
    assert EvaluateParams.of(record(JobKind.EVALUATE, evaluate)).queries is None
    catalogs = {"catalogue": {**CATALOG, "reader": "folder", "limit": 3}, "deepfashion": CATALOG}
    experiment = {"experiment": EXPERIMENT, "catalogs": catalogs, "weights": {}, "download": False}
    read = ExperimentParams.of(record(JobKind.EXPERIMENT, experiment))
    assert read.catalogue.limit == 3
    assert read.deepfashion is not None


def test_a_record_that_is_not_valid_names_the_field() -> None:
    with pytest.raises(ParameterInvalid, match="root"):
        IndexParams.of(record(JobKind.INDEX, {"dataset": "shop", "model": "net"}))


@pytest.mark.parametrize(
    ("kind", "changes", "error"),
    [
        (JobKind.INDEX, {"dataset": "a--b"}, ParameterInvalid),
        (JobKind.INDEX, {"model": "a b"}, ParameterInvalid),
        (JobKind.INDEX, {"reader": "none"}, ParameterInvalid),
        (JobKind.PROJECT, {"model": "timm:hf-hub:x"}, ParameterInvalid),
        (JobKind.PROJECT, {"weights": "weights.safetensors"}, WeightsUnusable),
        (JobKind.TRAIN, {"recipe": {**RECIPE, "model": {"model": "net", "weights": "/w.pt"}}}, WeightsUnusable),
        (JobKind.TRAIN, {"unlabelled": CATALOG}, ParameterInvalid),
        (JobKind.TRAIN, {"street": "/data/people"}, ParameterInvalid),
        (JobKind.TRAIN, {"recipe": {**RECIPE, "street": {}}}, ParameterInvalid),
        (JobKind.TUNE, {"name": "a b"}, ParameterInvalid),
        (JobKind.TUNE, {"sizes": [0]}, ValidationError),
        (JobKind.TUNE, {"objective": {"average_precision": 0}}, ValidationError),
        (JobKind.VISUALIZE, {"colour": "a b"}, ParameterInvalid),
        (JobKind.HEALTH, {"label": "a b"}, ParameterInvalid),
        (JobKind.HEALTH, {"dataset": "a--b"}, ParameterInvalid),
        (JobKind.HEALTH, {"most": 0}, ValidationError),
        (JobKind.EXPERIMENT, {"weights": {"net": {"weights": "w"}}}, WeightsUnusable),
    ],
)
def test_invalid_parameters_are_refused(kind: JobKind, changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        PARAMS[kind].model_validate({**REQUESTS[kind], **changes})


def test_a_method_is_drawn_once() -> None:
    assert VisualizeParams.model_validate(REQUESTS[JobKind.VISUALIZE]).methods == ["umap"]


def test_the_search_api_fills_in_the_reader_the_folder_and_the_release(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = Settings(catalog_roots=(tmp_path,))
    releases = ReleaseStore(str(tmp_path / "releases"), cache_dir=tmp_path / "cache")
    body = {"dataset": "synthetic", "root": str(tmp_path / "link")}
    project = asyncio.run(resolved(ProjectParams(**body, model="net"), settings, releases))
    assert (project.reader, project.root) == ("synthetic", str(tmp_path / "real"))
    with pytest.raises(ModelUnknown):
        asyncio.run(resolved(IndexParams(**body, model="net"), settings, releases))
    with pytest.raises(ReleaseMismatch):
        asyncio.run(resolved(IndexParams(**body, model="other", release_id=RELEASE), settings, releases))
    with pytest.raises(ReleaseNotFound):
        asyncio.run(resolved(TuneParams(**body, name="new", release_id=RELEASE), settings, releases))
