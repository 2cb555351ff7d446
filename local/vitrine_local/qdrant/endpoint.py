"""HTTP requests and answers: the API key, the limit of the body, Qdrant's envelope and error format.

A body is parsed directly from its bytes into the client's request models, and answers are written with pydantic-core's
serializer: both run in every search.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pydantic_core
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from vitrine.telemetry import get_logger
from vitrine_local.qdrant.engine import is_engine_failure
from vitrine_local.qdrant.errors import (
    BodyTooLong,
    FormatInvalid,
    KeyRefused,
    MediaTypeRefused,
    QdrantError,
)
from vitrine_local.qdrant.store import Store

T = TypeVar("T")
_JSON: Final = "application/json"
_BEARER: Final = "bearer "
_MAX_ERRORS_SHOWN: Final = 3
# Upper bound of the disk space of a write: its log, the vectors, the payload and the indexes.
_CALL_WRITES_BYTES: Final = 1024 * 1024
_WRITTEN_PER_BODY_BYTE: Final = 4


@dataclass(frozen=True, slots=True)
class Gate:
    """The API key, None for no check, and the limit of a body."""

    api_key: str | None
    max_body_bytes: int

    def check(self, request: Request) -> None:
        """Raises KeyRefused."""
        if self.api_key is None:
            return
        given = request.headers.get("api-key")
        authorization = request.headers.get("authorization", "")
        if given is None and authorization.lower().startswith(_BEARER):
            given = authorization[len(_BEARER) :]
        if given is None:
            raise KeyRefused("Must provide an API key or an Authorization bearer token")
        if not hmac.compare_digest(given.encode(), self.api_key.encode()):
            raise KeyRefused("Invalid API key or JWT")


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    request: Request
    store: Store
    max_body_bytes: int

    @property
    def name(self) -> str:
        """The name of the collection in the path."""
        return str(self.request.path_params["name"])

    @property
    def waits(self) -> bool:
        """Whether the caller asked to wait for the change to be applied."""
        return self.request.query_params.get("wait") == "true"

    async def write_body(self, adapter: TypeAdapter[T]) -> T:
        """The body of a request that writes. Raises as `body` does, and DiskFull if the disk has no space for it."""
        data = await self._json()
        self.store.space.require(_CALL_WRITES_BYTES + _WRITTEN_PER_BODY_BYTE * len(data))
        self.store.space.wrote(len(data))
        return _parsed(adapter, data)

    async def body(self, adapter: TypeAdapter[T]) -> T:
        """The parsed body. Raises MediaTypeRefused, BodyTooLong, FormatInvalid."""
        return _parsed(adapter, await self._json())

    async def _json(self) -> bytes:
        # A web page can send other types to a loopback address without a CORS preflight, but not JSON.
        media_type = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != _JSON:
            raise MediaTypeRefused(f"the body must be {_JSON}")
        return await self._bytes()

    async def _bytes(self) -> bytes:
        declared = self.request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.max_body_bytes:
            raise BodyTooLong(f"a body may have at most {self.max_body_bytes} bytes")
        parts, size = [], 0
        async for part in self.request.stream():
            size += len(part)
            if size > self.max_body_bytes:
                raise BodyTooLong(f"a body may have at most {self.max_body_bytes} bytes")
            parts.append(part)
        return b"".join(parts)


def _parsed(adapter: TypeAdapter[T], data: bytes) -> T:
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise FormatInvalid(_summary(error)) from None


Handler = Callable[[Call], Awaitable[Any]]


def endpoint(handler: Handler, *, store: Store, gate: Gate) -> Callable[[Request], Awaitable[Response]]:
    """A Starlette endpoint for a handler that returns the `result` field of Qdrant's answer."""
    log = get_logger("local-qdrant")

    async def answer(request: Request) -> Response:
        started_at_s = time.perf_counter()
        try:
            gate.check(request)
            result = await handler(Call(request, store, gate.max_body_bytes))
            return _envelope({"result": result, "status": "ok"}, started_at_s=started_at_s)
        except KeyRefused as error:
            return PlainTextResponse(error.message, status_code=error.status)
        except QdrantError as error:
            return _failure(error.message, status=error.status, started_at_s=started_at_s)
        except ClientDisconnect:
            return Response(status_code=400)
        except BaseException as error:
            if not is_engine_failure(error):
                raise
            log.exception("request_failure", method=request.method, path=request.url.path)
            store.note_failure(str(request.path_params.get("name", "")), error)
            return _failure(f"Service internal error: {error}", status=500, started_at_s=started_at_s)

    return answer


def _envelope(content: dict[str, Any], *, started_at_s: float, status: int = 200) -> Response:
    content["time"] = time.perf_counter() - started_at_s
    return Response(pydantic_core.to_json(content), status_code=status, media_type=_JSON)


def _failure(message: str, *, status: int, started_at_s: float) -> Response:
    return _envelope({"status": {"error": message}}, started_at_s=started_at_s, status=status)


def _summary(error: ValidationError) -> str:
    """The first few errors of a body, without its values."""
    listed = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in listed[:_MAX_ERRORS_SHOWN])
