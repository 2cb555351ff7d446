"""The search API as the commands call it: JSON in and out, every failure one of this machine's own errors, with the
code and the sentence that the server gave.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from vitrine_local.cli.target import Target
from vitrine_local.errors import CommandFailed, ServerUnreachable

Json = dict[str, Any]

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_EVENT_STREAM = "text/event-stream"
_KEY_WANTED = frozenset({"key_missing", "key_refused"})


class ApiRefused(CommandFailed):
    """The search API answered with an error; `status` and `code` are its own."""

    def __init__(self, detail: str, *, status: int, code: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.answer_status = status
        self.answer_code = code

    @property
    def may_pass(self) -> bool:
        """Is it worth asking again in a moment?"""
        return self.answer_status in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)


class Api:
    """A connection to one search API; close it, or use it as a context."""

    def __init__(self, target: Target, *, transport: httpx.BaseTransport | None = None) -> None:
        self.target = target
        self._client = httpx.Client(
            base_url=target.url,
            timeout=_TIMEOUT,
            headers={"X-API-Key": target.api_key} if target.api_key else {},
            trust_env=not _is_loopback(target.url),  # a proxy cannot reach this machine's own loopback
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str | int) -> Json:
        return self._call("GET", path, params=parameters)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **parameters: str) -> Json:
        return self._call("POST", path, json=body, params=parameters)

    def delete(self, path: str) -> Json:
        return self._call("DELETE", path)

    def post_picture(self, path: str, picture: bytes, fields: Mapping[str, Sequence[str]]) -> Json:
        """Post a form with the picture as its file `image`."""
        return self._call("POST", path, files={"image": ("query", picture)}, data=dict(fields))

    def picture(self, address: str) -> bytes:
        """The picture at the address that an answer gave for it."""
        with self._reaching():
            answer = self._client.get(address)
        if answer.is_error:
            self._content(answer, address)
        return answer.content

    def events(self, path: str, *, last_id: str | None = None) -> Iterator[Json]:
        """The data of a stream of server-sent events, until it ends. Not JSON, or no such stream: ServerUnreachable."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        with self._reaching(), self._client.stream("GET", path, headers=headers) as answer:
            if answer.is_error or not answer.headers.get("content-type", "").startswith(_EVENT_STREAM):
                answer.read()
                self._content(answer, path)
                raise self._no_vitrine(answer, path)
            data: list[str] = []
            for line in answer.iter_lines():
                if line.replace(" ", "") == "event:end":
                    return
                if line.startswith("data:"):
                    data.append(line.removeprefix("data:").removeprefix(" "))
                elif not line and data:
                    try:
                        yield json.loads("\n".join(data))
                    except ValueError:
                        raise self._no_vitrine(answer, path) from None
                    data = []

    def _call(self, method: str, path: str, **options: Any) -> Json:
        with self._reaching():
            answer = self._client.request(method, path, **options)
        return self._content(answer, path)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(
                f"no search API answers at {self.target.url} ({error or type(error).__name__}): "
                "start one with `vitrine up`, or say where it is with VITRINE_URL"
            ) from error

    def _content(self, answer: httpx.Response, path: str) -> Json:
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._no_vitrine(answer, path)
        if answer.is_error:
            raise _refusal(content, answer.status_code)
        return content

    def _no_vitrine(self, answer: httpx.Response, path: str) -> ServerUnreachable:
        return ServerUnreachable(
            f"what answers at {self.target.url} is no Vitrine search API: it answered {answer.status_code} "
            f"to {path} with something else; say where Vitrine is with VITRINE_URL"
        )


def _refusal(problem: Json, status: int) -> ApiRefused:
    code = str(problem.get("code", f"status_{status}"))
    detail = str(problem.get("detail", "the search API gave no reason"))
    if code in _KEY_WANTED:
        detail += "; give the key in VITRINE_API_KEY"
    return ApiRefused(detail, status=status, code=code)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
