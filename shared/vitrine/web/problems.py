"""Errors as RFC 9457 problem details: VitrineErrors, and the framework's own (a bad parameter, an unknown route)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Send

from vitrine.errors import BodyInvalid, MediaTypeUnsupported, ParameterInvalid, VitrineError
from vitrine.parsing import message_of
from vitrine.telemetry import get_logger

MEDIA_TYPE: Final = "application/problem+json"
# The key in `scope["state"]` of the error's code, for middleware.
PROBLEM_CODE: Final = "vitrine_problem_code"
MAX_FAULT_CHARS: Final = 300  # of a name that the caller chose
# Answers with these statuses always have a Retry-After header.
_RETRY_STATUSES: Final = frozenset({429, 503, 504})
_CODES_BY_STATUS: Final = {401: "key_missing", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(BaseModel):
    """An error, as RFC 9457 problem details with a stable `code`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:vitrine:error:parameter_invalid"])
    title: str = Field(examples=["Bad Request"])
    status: int = Field(examples=[400])
    detail: str = Field(description="What is wrong and what to do")
    code: str = Field(description="Stable: programs may depend on it", examples=["parameter_invalid"])
    success: bool = Field(default=False, description="Always false")
    retryable: bool = Field(default=False, description="Whether the same request can succeed later")


def problem_responses(*errors: type[VitrineError]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can answer with these errors, one entry for each status."""
    by_status: dict[int, list[str]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error.code)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, codes in sorted(by_status.items())
    }


def problem_body(problem: Mapping[str, Any]) -> bytes:
    return json.dumps(problem, default=str, ensure_ascii=False).encode()


def problem_response(error: VitrineError) -> Response:
    """A Starlette response for `error`."""
    return Response(
        problem_body(error.problem()), status_code=error.status, media_type=MEDIA_TYPE, headers=error_headers(error)
    )


def error_headers(error: VitrineError) -> dict[str, str]:
    headers: dict[str, str] = {}
    retry_after_s = error.retry_after_s
    if retry_after_s is None and error.status in _RETRY_STATUSES:
        retry_after_s = 1.0
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


async def send_problem(send: Send, error: VitrineError) -> None:
    """Answer with `error` from ASGI middleware."""
    headers, body = _answer(error)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def raw_answer(error: VitrineError) -> bytes:
    """A whole HTTP/1.1 answer with `error`, which closes the connection."""
    headers, body = _answer(error)
    lines = [
        f"HTTP/1.1 {error.status} {error.problem()['title']}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _answer(error: VitrineError) -> tuple[dict[str, str], bytes]:
    """(headers with names in lower case, body)."""
    body = problem_body(error.problem())
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), **error_headers(error)}
    return {name.lower(): value for name, value in headers.items()}, body


def install_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error with problem details, and describe them in its OpenAPI document."""

    async def on_vitrine_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, VitrineError)
        request.scope.setdefault("state", {})[PROBLEM_CODE] = error.code
        if error.status >= 500 and not error.retryable:
            get_logger("web").error("request_error", code=error.code, detail=error.detail)
        return problem_response(error)

    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(_validation_problem(request, error))

    async def on_http_exception(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _http_exception_response(error)

    async def on_defect(_request: Request, error: Exception) -> Response:
        get_logger("web").error("request_defect", exc_info=error)
        return problem_response(VitrineError("An unexpected error happened; it has been logged."))

    app.add_exception_handler(VitrineError, on_vitrine_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_defect)
    _document_problems(app)


def _validation_problem(request: Request, error: RequestValidationError) -> VitrineError:
    faults = [
        {
            "where": ".".join(str(part) for part in fault["loc"])[:MAX_FAULT_CHARS],
            "message": message_of(fault)[:MAX_FAULT_CHARS],
        }
        for fault in error.errors()[:20]
    ]
    summary = "; ".join(f"{fault['where']}: {fault['message']}" for fault in faults) or "the request is not valid"
    in_body = all(fault["loc"][:1] == ("body",) for fault in error.errors())
    is_form = request.headers.get("content-type", "").startswith(("multipart/", "application/x-www-form-urlencoded"))
    if in_body and not is_form:
        return BodyInvalid(summary, errors=faults)
    return ParameterInvalid(summary, errors=faults)


def _http_exception_response(error: HTTPException) -> Response:
    if error.status_code == MediaTypeUnsupported.status:
        return problem_response(MediaTypeUnsupported(str(error.detail)))
    if error.status_code == 400:
        return problem_response(ParameterInvalid(str(error.detail)))
    problem = VitrineError(str(error.detail)).problem()
    problem["status"] = error.status_code
    problem["title"] = str(error.detail)
    problem["code"] = _CODES_BY_STATUS.get(error.status_code, "http_error")
    problem["type"] = f"urn:vitrine:error:{problem['code']}"
    return Response(
        problem_body(problem),
        status_code=error.status_code,
        media_type=MEDIA_TYPE,
        headers=dict(error.headers) if error.headers else None,
    )


def _document_problems(app: FastAPI) -> None:
    """Add the Problem schema to the OpenAPI document and remove FastAPI's 422 schema, which is never sent."""
    generate: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            for path in document["paths"].values():
                for operation in path.values():
                    unprocessable = operation.get("responses", {}).get("422")
                    if unprocessable and "HTTPValidationError" in json.dumps(unprocessable):
                        del operation["responses"]["422"]
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
