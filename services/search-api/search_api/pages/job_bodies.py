"""Convert the values of a form to the parameters of a job, and errors back to messages at the fields."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import FormData

from search_api.jobs.service import PARAMS
from search_api.pages.job_fields import Form, Value
from vitrine.catalogs.mapping import parse_mapping
from vitrine.errors import (
    CatalogNotFound,
    CatalogRootRefused,
    ModelUnknown,
    ParameterInvalid,
    ReleaseMismatch,
    ReleaseNotFound,
    VitrineError,
    WeightsUnusable,
)
from vitrine.jobs import JobKind
from vitrine.jobs.params.catalog import JobParams
from vitrine.parse_recipes import parse_any_recipe
from vitrine.parsing import message_of, without_catalog
from vitrine.qdrant.naming import model_of_release

WHOLE_FORM: Final = ""
Values = Mapping[str, Value]
Faults = dict[str, str]
# The message for each type of pydantic error. `{…}` is filled from the error's context.
_SENTENCES: Final = {
    "missing": "This is needed.",
    "string_too_short": "This is needed.",
    "too_short": "Choose at least one.",
    "int_parsing": "A whole number is needed.",
    "int_from_float": "A whole number is needed.",
    "float_parsing": "A number is needed.",
    "greater_than_equal": "At least {ge}.",
    "less_than_equal": "At most {le}.",
    "string_too_long": "At most {max_length} characters.",
}
_FIELD_OF_ERROR: Final[tuple[tuple[type[VitrineError], tuple[str, ...]], ...]] = (
    (CatalogRootRefused, ("root",)),
    (CatalogNotFound, ("root",)),
    (ReleaseNotFound, ("release_id", "release", "releases")),
    (ReleaseMismatch, ("release_id",)),
    (ModelUnknown, ("release_id", "model")),
    (WeightsUnusable, ("weights", "recipe")),
)
# The beginning of a ParameterInvalid, and the fields it may belong to.
_FIELD_OF_WORDS: Final = (
    ("dataset name", ("dataset",)),
    ("model name", ("name", "model")),
    ("there is no catalogue reader", ("reader",)),
    ("the recipe", ("recipe",)),
    ("attribute name", ("colour", "label")),
    ("the mapping", ("mapping",)),
    ("the interval", ("every",)),
)


class FormInvalid(Exception):
    """The values of a form are invalid. `faults` has a message by field, or by WHOLE_FORM for the whole form."""

    def __init__(self, faults: Faults) -> None:
        super().__init__("; ".join(faults.values()))
        self.faults = faults


def sent_values(form: Form, sent: FormData) -> dict[str, Value]:
    """The values of a form as they were sent. Missing fields are empty."""
    values: dict[str, Value] = {}
    for field in form.fields:
        texts = [text for text in sent.getlist(field.name) if isinstance(text, str)]
        if field.control == "checks":
            values[field.name] = tuple(texts)
        else:
            values[field.name] = texts[0].replace("\r\n", "\n") if texts else ""
    return values


def body_of(form: Form, values: Values) -> JobParams:
    """The parameters of a job. Raises FormInvalid."""
    if faults := _needed(form, values):
        raise FormInvalid(faults)
    try:
        content = _content(form.kind, values)
        return PARAMS[form.kind].model_validate(content)
    except ValidationError as error:
        raise FormInvalid(_faults_of(form, error)) from error
    except VitrineError as error:
        raise FormInvalid(fault_of(form, error)) from error


def fault_of(form: Form, error: VitrineError) -> Faults:
    """The message of a service error, at its field or for the whole form."""
    detail = error.detail[:1].upper() + error.detail[1:]
    said = detail if detail[-1:] in ".!?" else f"{detail}."
    names: tuple[str, ...] = next((names for kind, names in _FIELD_OF_ERROR if isinstance(error, kind)), ())
    if isinstance(error, ParameterInvalid):
        names = next((names for words, names in _FIELD_OF_WORDS if error.detail.startswith(words)), ())
    return {next((name for name in names if form.named(name) is not None), WHOLE_FORM): said}


def _needed(form: Form, values: Values) -> Faults:
    faults = {}
    for field in form.fields:
        if field.required and not values.get(field.name):
            faults[field.name] = "Choose at least one." if field.control == "checks" else "This is needed."
    return faults


def _faults_of(form: Form, error: ValidationError) -> Faults:
    faults: Faults = {}
    for fault in error.errors():
        names = [str(part) for part in fault["loc"]]
        name = next((name for name in names if form.named(name) is not None), WHOLE_FORM)
        said = _SENTENCES.get(fault["type"], message_of(fault)).format(
            **{"ge": "", "le": "", "max_length": "", **fault.get("ctx", {})}
        )
        said = said[:1].upper() + said[1:]
        faults.setdefault(name, said if name else f"{'.'.join(names)}: {said}")
    return faults


def _content(kind: JobKind, values: Values) -> dict[str, Any]:
    """The parameters as plain values, without empty ones, so that the model's defaults apply."""
    content: dict[str, Any] = {name: value for name, value in values.items() if value not in ("", ())}
    if "mapping" in content:
        lines = str(content.pop("mapping")).splitlines()
        if any(line.strip() for line in lines):
            content["mapping"] = parse_mapping(lines)
    if kind is JobKind.INDEX:
        content["model"] = model_of_release(str(content["release_id"]))
        content["allow_removal"] = "allow_removal" in content
        content["download"] = "download" in content
    elif kind is JobKind.PROJECT:
        content["whiten"] = "whiten" in content
    elif kind is JobKind.TRAIN:
        release = content.pop("release", None)
        content["recipe"] = _recipe(str(content["recipe"]), release)
    elif kind is JobKind.ADAPT:
        dataset, root = content.pop("target_dataset", None), content.pop("target_root", None)
        if dataset or root:
            if not (dataset and root):
                missing = "target_root" if dataset else "target_dataset"
                raise FormInvalid({missing: "Another catalogue needs both its name and its folder."})
            content["target"] = {"dataset": dataset, "root": root}
    elif kind is JobKind.TUNE and "sizes" in content:
        content["sizes"] = [part for part in str(content["sizes"]).replace(",", " ").split() if part]
    elif kind is JobKind.EVALUATE:
        plan = {
            name: content.pop(name) for name in ("releases", "measures", "queries", "part", "protocol")
            if name in content
        }  # fmt: skip
        if plan.get("protocol") == "faults":  # has its own metrics
            plan.pop("measures", None)
        content["plan"] = plan
    return content


def _recipe(text: str, release: Any) -> dict[str, Any]:
    """The recipe as JSON. Raises FormInvalid, also for a second-stage recipe without a release to start from."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormInvalid({"recipe": f"This is not TOML: {error}."}) from error
    content, _ = without_catalog(parsed, Path("typed"), what="recipe")
    after = content.pop("after", None)
    if after is not None and release is None:
        raise FormInvalid({"release": f"This recipe continues {after}: choose the release that one made."})
    if release is not None:
        model = content.get("model")
        kept = {name: value for name, value in model.items() if name != "model"} if isinstance(model, dict) else {}
        content["model"] = {**kept, "release": release}
    try:
        return parse_any_recipe(content).as_json()
    except ParameterInvalid as error:
        raise FormInvalid({"recipe": error.detail[:1].upper() + error.detail[1:]}) from error
