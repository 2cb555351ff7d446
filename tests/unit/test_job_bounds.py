"""Everything in a job is bounded: its parameters, recursively, and the logged values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final, Literal

import pytest
import structlog
from pydantic import BaseModel, TypeAdapter, ValidationError

from search_api.jobs.service import PARAMS
from vitrine.architectures import Options
from vitrine.errors import ParameterInvalid
from vitrine.jobs.params.catalog import DeleteParams, JobParams, UpsertParams
from vitrine.jobs.params.releases import ProjectParams
from vitrine.telemetry import configure_logging

MODELS: Final[tuple[type[JobParams], ...]] = (*PARAMS.values(), UpsertParams, DeleteParams)


def unbounded(
    schema: Any, definitions: dict[str, Any], where: str, seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    """The places where a JSON schema allows a text, a list, an object or an integer of unlimited size."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            yield from unbounded(definitions[name], definitions, where, seen | {name})
        return
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from unbounded(branch, definitions, where, seen)
    if "enum" in schema or "const" in schema:
        return
    kind = schema.get("type")
    if kind is None and not {"anyOf", "oneOf", "allOf"} & schema.keys():
        yield f"{where}: anything"
    if kind == "string" and "maxLength" not in schema:
        yield f"{where}: text of any length"
    if kind == "integer" and not ("maximum" in schema or "exclusiveMaximum" in schema):
        yield f"{where}: a whole number of any size"
    if kind == "array":
        if "maxItems" not in schema:
            yield f"{where}: a list of any length"
        for number, item in enumerate(schema.get("prefixItems", ())):
            yield from unbounded(item, definitions, f"{where}.{number}", seen)
        if "items" in schema:
            yield from unbounded(schema["items"], definitions, f"{where}.*", seen)
    if kind == "object":
        for name, member in schema.get("properties", {}).items():
            yield from unbounded(member, definitions, f"{where}.{name}", seen)
        # An object with named members ignores all others.
        extra = schema.get("additionalProperties", "properties" not in schema)
        if extra is not False:
            if "maxProperties" not in schema:
                yield f"{where}: an object of any size"
            names = schema.get("propertyNames", {})
            if "maxLength" not in names and "enum" not in names:
                yield f"{where}: names of any length"
            yield from unbounded({} if extra is True else extra, definitions, f"{where}.*", seen)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_parameter_of_a_job_is_bounded(model: type[JobParams]) -> None:
    schema = model.model_json_schema()
    assert list(unbounded(schema, schema.get("$defs", {}), "body")) == []


@pytest.mark.parametrize(
    "name",
    [
        "features_only",
        "pretrained",
        "pretrained_cfg",
        "checkpoint_path",
        "cache_dir",
        "out_indices",
        "num_classes",
        "some_file",
        "hub_url",
        "../up",
        "",
        "x" * 65,
    ],
)
def test_an_internal_option_of_timm_is_refused_by_name(name: str) -> None:
    with pytest.raises((ParameterInvalid, ValidationError), match=r"option|too_long"):
        ProjectParams.model_validate({"dataset": "d", "root": "/d", "model": "resnet18", "options": {name: True}})


@pytest.mark.parametrize(
    "options",
    [
        {"pad_type": "x" * 201},
        {"pad_type": "/etc/passwd"},
        {"pad_type": "https://evil.example/w"},
        {"embed_dim": 1_000_000},
        {"depth": 100_000},
        {"mlp_ratio": 1e300},
        {f"option{number}": 1 for number in range(33)},
    ],
)
def test_an_option_is_small_and_not_a_path(options: dict[str, Any]) -> None:
    with pytest.raises((ParameterInvalid, ValidationError)):
        TypeAdapter(Options).validate_python(options)


def test_the_options_in_use_are_accepted() -> None:
    used = {"pad_type": "same", "input_px": 224, "mean": "0.5,0.5,0.5", "drop_path_rate": 0.1, "aux": True}
    assert TypeAdapter(Options).validate_python(used) == used


def test_a_long_value_is_cut_before_it_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        formats: tuple[Literal["json", "console"], ...] = ("json", "console")
        for log_format in formats:
            log = configure_logging("test", log_format=log_format)
            log.info("request", name="n" * 1_000_000, options={"a": "b" * 1_000_000}, count=3)
            try:
                raise ValueError("the value " + "v" * 1_000_000)
            except ValueError as error:
                if log_format == "json":
                    log.error("defect", exc_info=error)
            assert len(capsys.readouterr().err) < 40_000
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        structlog.reset_defaults()


def test_the_search_finds_unbounded_values() -> None:
    class Inner(BaseModel):
        text: str
        names: list[int]

    class Outer(BaseModel):
        inner: Inner | None
        options: dict[str, Any]

    schema = Outer.model_json_schema()
    found = list(unbounded(schema, schema["$defs"], "body"))
    assert {line.partition(":")[0] for line in found} == {
        "body.inner.text", "body.inner.names", "body.inner.names.*", "body.options", "body.options.*"
    }  # fmt: skip
