"""The OpenAPI document: the description of the API, and the parts that FastAPI cannot derive, such as filter fields
in forms and queries.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
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
    GarmentUnknown,
    HostRefused,
    ImageMissing,
    KeyMissing,
    KeyRefused,
    MediaTypeUnsupported,
    ModelUnknown,
    ParameterInvalid,
    ParserNotFound,
    ReleaseNotFound,
    TooManyRequests,
    Unavailable,
    VectorStoreUnavailable,
    VitrineError,
)
from vitrine.images.formats import FORMATS_TEXT
from vitrine.web import KEY_SCOPES, DeclaredRoutes

API_TITLE: Final = "Vitrine search API"
VERSION: Final = version("vitrine-search-api")
DESCRIPTION: Final = (
    "Visual search for a fashion catalogue: post a picture, get the products that look most like it, filtered by any "
    "attribute.\n\n"
    "Every error is a problem document (RFC 9457, `application/problem+json`) with a stable `code` and "
    '`"success": false`. A 503, 504 or 429 says in `Retry-After` when to come back. '
    "Headers of more than 32 KB are answered 431, headers or a body that come too slowly 408. "
    "Every answer carries `X-Request-ID`."
)
TAGS: Final = [
    {"name": "search", "description": "Find products"},
    {"name": "products", "description": "Single products and their pictures"},
    {"name": "datasets", "description": "What is indexed, and dropping it"},
    {"name": "models", "description": "Models and their releases"},
    {"name": "jobs", "description": "Long work: indexing, making releases"},
    {"name": "system", "description": "How the parts are doing"},
    {"name": "health", "description": "For balancers and monitoring"},
]


def complete_document(app: FastAPI, routes: DeclaredRoutes) -> None:
    """Add the security schemes, and as `x-scopes` the scopes of each call, of which a key needs one.

    Keys are optional: without configured keys no call asks for one.
    """
    generate: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer", "description": "An API key"}
        schemes["apiKey"] = {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key"}
        document["security"] = [{}, {"bearer": []}, {"apiKey": []}]
        for route in routes.routes:
            for method in route.methods or ():
                operation = document["paths"].get(route.path, {}).get(method.lower())
                if operation is not None and route.scopes is None:
                    operation["security"] = [{}]
                elif operation is not None and route.scopes is not None:
                    operation["x-scopes"] = sorted(route.scopes & KEY_SCOPES)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


# Errors that every call may answer.
COMMON_ERRORS: Final[tuple[type[VitrineError], ...]] = (
    ParameterInvalid,
    KeyMissing,
    KeyRefused,
    ForeignSite,
    GarmentUnknown,
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
PARSER_ERRORS: Final[tuple[type[VitrineError], ...]] = (*PICTURE_ERRORS, GarmentUnknown, ParserNotFound)

_FILTER_TEXT = (
    "Any filterable field of the collection (GET /api/models lists them with their kinds): `field=value`, repeated for "
    "OR; `!field=value` for none of; `fieldMin` and `fieldMax` for numbers and dates; `field=` for products without a "
    "value, `!field=` for those with one. A list matches by each of its values, a category path (`Clothing > Dresses`) "
    "at each level, a boolean as `true` or `false`, a date (`2024-01-15`, `2024-01`) with its whole day or month."
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


UPLOAD_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "description": "In place of a picture: the id of a kept one (POST /api/uploads)",
}


def picture_schema(description: str) -> dict[str, Any]:
    """The schema of a picture in a form."""
    return {**_BINARY, "description": f"{description} {FORMATS_TEXT}"}


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
    properties: dict[str, Any],
    *,
    required: list[str],
    options: type[BaseModel] | None = None,
    free_fields: str | None = None,
) -> dict[str, Any]:
    """The schema of a multipart body with these parts, the options' fields, and free text fields if described."""
    fields = options.model_json_schema(by_alias=True)["properties"] if options else {}
    return {
        "schema": {
            "type": "object",
            "properties": {**properties, **{name: _without_null(field) for name, field in fields.items()}},
            "required": required,
            "additionalProperties": {"type": "string", "description": free_fields} if free_fields else False,
        }
    }


def filter_form(properties: dict[str, Any], *, required: list[str], options: type[BaseModel]) -> dict[str, Any]:
    """The schema of a form whose other fields are filters."""
    return form_body(properties, required=required, options=options, free_fields=_FILTER_TEXT)


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A field's schema without pydantic's title and without `null`, which forms and queries cannot express."""
    plain = {key: value for key, value in field.items() if key not in ("title", "anyOf")}
    for choice in field.get("anyOf", ()):
        if choice.get("type") != "null":
            plain = {**choice, **plain}
    if plain.get("default", 0) is None:
        del plain["default"]
    return plain
