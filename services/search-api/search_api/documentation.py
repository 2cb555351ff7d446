"""What the OpenAPI document says of the API as a whole."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from vitrine.web import DeclaredRoutes
from vitrine.web.scopes import KEY_SCOPES

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
    """Add to the OpenAPI document how a key is presented, and the scopes of which it needs one for each call, as
    `x-scopes`. Keys are optional: with none configured none is asked for.
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
