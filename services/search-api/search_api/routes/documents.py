"""Pieces of the OpenAPI document that FastAPI cannot derive: forms with free fields, and filters in the query."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from vitrine.errors import (
    BodyTooLarge,
    CollectionNotFound,
    DatasetNotFound,
    DeadlineExpired,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
    FilterInvalid,
    ForeignSite,
    HostRefused,
    ImageMissing,
    KeyMissing,
    KeyRefused,
    MediaTypeUnsupported,
    ModelUnknown,
    ParameterInvalid,
    ReleaseNotFound,
    TooManyRequests,
    Unavailable,
    VectorStoreUnavailable,
    VitrineError,
)

# What any call may answer, whatever it is about.
COMMON_ERRORS: Final[tuple[type[VitrineError], ...]] = (
    ParameterInvalid,
    KeyMissing,
    KeyRefused,
    ForeignSite,
    HostRefused,
    TooManyRequests,
    BodyTooLarge,
    Unavailable,
    DeadlineExpired,
)
READ_ERRORS: Final[tuple[type[VitrineError], ...]] = (*COMMON_ERRORS, DatasetNotFound, VectorStoreUnavailable)
SEARCH_ERRORS: Final[tuple[type[VitrineError], ...]] = (
    *READ_ERRORS,
    ModelUnknown,
    FilterInvalid,
    CollectionNotFound,
)
PICTURE_ERRORS: Final[tuple[type[VitrineError], ...]] = (
    ImageMissing,
    MediaTypeUnsupported,
    ReleaseNotFound,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
)

_FILTER_TEXT = (
    "Any filterable field of the collection (GET /api/models lists them): `field=value`, repeated for OR; "
    "`!field=value` for none of; `fieldMin` and `fieldMax` for numbers."
)
FILTER_PARAMETER: Final[dict[str, Any]] = {
    "name": "filters",
    "in": "query",
    "required": False,
    "description": _FILTER_TEXT,
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
        "example": {"gender": ["Women"], "yearMin": ["2012"]},
    },
}
_BINARY: Final[dict[str, Any]] = {"type": "string", "format": "binary"}


def picture_schema(description: str) -> dict[str, Any]:
    """A picture as a part of a form."""
    return {**_BINARY, "description": f"{description} JPEG, PNG or WebP"}


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of `model` as query parameters, under their public names."""
    schema = model.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    parameters = []
    for name, field in schema["properties"].items():
        plain = _without_null(field)
        description = plain.pop("description", "")
        parameters.append(
            {"name": name, "in": "query", "required": name in required, "description": description, "schema": plain}
        )
    return parameters


def form_body(
    properties: dict[str, Any], *, required: list[str], options: type[BaseModel] | None, free_fields: str
) -> dict[str, Any]:
    """The schema of a multipart body with these parts, the options' fields, and free text fields besides."""
    fields = options.model_json_schema(by_alias=True)["properties"] if options else {}
    return {
        "schema": {
            "type": "object",
            "properties": {**properties, **{name: _without_null(field) for name, field in fields.items()}},
            "required": required,
            "additionalProperties": {"type": "string", "description": free_fields},
        }
    }


def filter_form(properties: dict[str, Any], *, required: list[str], options: type[BaseModel]) -> dict[str, Any]:
    """A form whose free fields are filters."""
    return form_body(properties, required=required, options=options, free_fields=_FILTER_TEXT)


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A field's schema without `null`, which a form or an address cannot say, and without pydantic's title."""
    plain = {key: value for key, value in field.items() if key not in ("title", "anyOf")}
    for choice in field.get("anyOf", ()):
        if choice.get("type") != "null":
            plain = {**choice, **plain}
    if plain.get("default", 0) is None:
        del plain["default"]
    return plain
