"""How calls are written and answers are read, the same for both clients."""

from __future__ import annotations

import ipaddress
import os
import random
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from vitrine_client.api_errors import BY_CODE, BY_STATUS
from vitrine_client.errors import AnswerInvalid, ApiError, ConnectionLost, ServerUnreachable, TimedOut, VitrineError
from vitrine_client.filters import Pairs

DEFAULT_URL: Final = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S: Final = 60.0
DEFAULT_RETRIES: Final = 3
_CONNECT_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 64
_RETRIED: Final = frozenset({429, 503})
_FIRST_PAUSE_S: Final = 0.5
_MAX_PAUSE_S: Final = 60.0
M = TypeVar("M", bound=BaseModel)
Parts = list[tuple[str, tuple[str | None, str | bytes]]]


def client_options(url: str | None, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    """The options of the httpx client: address, key, limits. Absent ones come from VITRINE_URL and VITRINE_API_KEY."""
    base = (url or os.environ.get("VITRINE_URL") or DEFAULT_URL).rstrip("/")
    key = api_key or os.environ.get("VITRINE_API_KEY")
    return {
        "base_url": base,
        "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        "limits": httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        "headers": {"User-Agent": user_agent(), **({"X-API-Key": key} if key else {})},
        "trust_env": not _is_loopback(base),  # a proxy cannot reach this machine's own loopback
    }


def user_agent() -> str:
    try:
        return f"vitrine-client/{version('vitrine-client')}"
    except PackageNotFoundError:  # run from a folder that is not installed
        return "vitrine-client"


def path_of(*parts: str | int) -> str:
    """A path below /api, its parts quoted."""
    return "/api/" + "/".join(quote(str(part), safe="") for part in parts)


def option_pairs(options: Mapping[str, Any]) -> Pairs:
    """The options of a call under the names of the API, without those that are None."""
    return [(to_camel(name), _text(value)) for name, value in options.items() if value is not None]


def option_members(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a JSON body."""
    return {
        to_camel(name): value if isinstance(value, str | int | float) else _text(value)
        for name, value in options.items()
        if value is not None
    }


def query_of(pairs: Pairs) -> httpx.QueryParams:
    """Pairs as the query of an address."""
    return httpx.QueryParams(tuple(pairs))


def form_of(pairs: Pairs, pictures: Sequence[tuple[str, bytes]] = ()) -> Parts:
    """Fields and pictures as the parts of a form, which is a multipart form even without a picture."""
    fields: Parts = [(name, (None, value)) for name, value in pairs]
    return [*fields, *((name, ("picture", data)) for name, data in pictures)]


def parse(model: type[M], content: object, what: str) -> M:
    """The answer as a model. Raises AnswerInvalid."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise AnswerInvalid(
            f"the answer to {what} cannot be read ({where}: {fault['msg']}): use a client of the server's version"
        ) from error


def content_of(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer that was read. Raises ApiError and AnswerInvalid."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    if answer.is_error:
        raise error_of(answer, content if isinstance(content, dict) else None)
    if not isinstance(content, dict):
        raise not_vitrine(answer)
    return content


def error_of(answer: httpx.Response, problem: dict[str, Any] | None) -> VitrineError:
    """The error of an answer with a status of 400 or more.

    A proxy's own answer has no problem body. Its status decides, if it is one that proxies give.
    """
    status = answer.status_code
    by_status = BY_STATUS.get(status, ApiError)
    if problem is None or "code" not in problem:
        if status not in (408, 413, 429, 431, 502, 503, 504):
            return not_vitrine(answer)
        return by_status(
            f"{answer.request.url.path} was answered with {status} {answer.reason_phrase} by a server in between",
            status=status,
            request_id=answer.headers.get("x-request-id"),
            retry_after_s=_retry_after_s(answer),
        )
    code = str(problem["code"])
    return BY_CODE.get(code, by_status)(
        str(problem.get("detail", "the search API gave no reason")),
        code=code,
        status=status,
        retryable=bool(problem.get("retryable", False)),
        request_id=answer.headers.get("x-request-id"),
        retry_after_s=_retry_after_s(answer),
        problem=problem,
    )


def not_vitrine(answer: httpx.Response) -> AnswerInvalid:
    url = answer.request.url
    return AnswerInvalid(
        f"{url.scheme}://{url.netloc.decode()} is no Vitrine search API: it answered {answer.status_code} to "
        f"{url.path} with something else; set VITRINE_URL to the address of Vitrine",
        status=answer.status_code,
    )


def transport_error(error: Exception, base_url: str) -> VitrineError:
    """The error of a call that was not answered."""
    reason = str(error) or type(error).__name__
    unusable = httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | httpx.UnsupportedProtocol | ValueError
    if isinstance(error, unusable):
        return ServerUnreachable(
            f"no search API answers at {base_url} ({reason}): "
            "start one with `vitrine up`, or set VITRINE_URL to its address"
        )
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"{base_url} did not answer in time ({reason})")
    return ConnectionLost(f"the connection to {base_url} broke ({reason})")


def pause_before_retry_s(error: VitrineError, attempt: int, *, only_reads: bool) -> float | None:
    """How long to wait before the call is repeated; None if it is not to be.

    Repeated is what the server refused to do for now (429, 503), what never reached it, and what only reads and was not
    answered to the end.
    """
    if isinstance(error, ApiError):
        if error.status not in _RETRIED or not error.retryable:
            return None
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= _MAX_PAUSE_S else None
    elif not isinstance(error, ServerUnreachable) and not (only_reads and isinstance(error, ConnectionLost | TimedOut)):
        return None
    # Not all clients that were refused together come back together.
    return float(min(_FIRST_PAUSE_S * 2**attempt, _MAX_PAUSE_S) * random.uniform(0.5, 1.0))  # noqa: S311


def _retry_after_s(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
