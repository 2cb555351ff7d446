"""JSON bodies: checks of the media type, the size and the values.

The media type is a safety check: a page of another site can post text to any address without a preflight request, but
not JSON. Python's parser accepts `NaN` and `Infinity`, which are not JSON and which no answer can repeat.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pydantic_core
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from vitrine.errors import BodyInvalid, BodyTooLarge, MediaTypeUnsupported, ParameterInvalid

MAX_JSON_BYTES: Final = 256 * 1024
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class JsonRoute(APIRoute):
    """A route whose body is JSON of at most 256 KB.

    Answers 415 for another media type, 413 for a longer body, and 400 for a number that is not finite.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            if request.method not in _WITH_BODY:
                return await handle(request)
            if not is_json(request):
                raise MediaTypeUnsupported("this call takes JSON: send it with 'Content-Type: application/json'")
            return await handle(_ReadRequest(request, await read_json_bytes(request)))

        return strict


class _ReadRequest(Request):
    """A request whose JSON body has been read and checked."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body
        self._value = parse_json(body) if body else None

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._value


def is_json(request: Request) -> bool:
    """Whether the body's media type is JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def read_json_bytes(request: Request) -> bytes:
    """The whole body. Raises BodyTooLarge above 256 KB, ParameterInvalid if the client disconnects too early."""
    declared = request.headers.get("content-length", "")
    if _LENGTH.fullmatch(declared) and int(declared) > MAX_JSON_BYTES:
        raise _too_large()
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > MAX_JSON_BYTES:
                raise _too_large()
            parts.append(part)
    except ClientDisconnect:
        raise ParameterInvalid("the connection was closed before the body was complete") from None
    return b"".join(parts)


def parse_json(body: bytes) -> Any:
    """Parse a JSON text. Raises BodyInvalid if it is not JSON, ParameterInvalid for a number out of range."""
    try:
        value = pydantic_core.from_json(body)
    except ValueError as error:
        raise BodyInvalid(f"the body cannot be read as JSON: {error}") from None
    _check_finite(value)
    return value


def _check_finite(value: Any) -> None:
    """Raises ParameterInvalid. The parser limits the depth, so the recursion ends."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterInvalid("the body has a number that is not finite (NaN, Infinity or beyond 1.8e308)")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_finite(item)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"a JSON body has at most {MAX_JSON_BYTES} bytes", max_body_bytes=MAX_JSON_BYTES)
