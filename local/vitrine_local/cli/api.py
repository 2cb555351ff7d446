"""The search API as the commands call it: where it is, JSON in and out, and every failure as a LocalError with the code
and the sentence of the server.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from httpx_sse import connect_sse

from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import CommandFailed, ServerUnreachable

Json = dict[str, Any]

DEFAULT_DATA: Final = Path(".vitrine")
DEFAULT_URL: Final = "http://127.0.0.1:8000"
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
_EVENT_STREAM: Final = "text/event-stream"
_LAST_EVENT: Final = "end"
_KEY_WANTED: Final = frozenset({"key_missing", "key_refused"})


@dataclass(frozen=True, slots=True)
class Target:
    """A search API. `local` is its data folder if it is known to run on this machine."""

    url: str
    api_key: str | None = None
    local: DataFolder | None = None


def find_target(url: str | None, data: Path | None) -> Target:
    """The search API at `url`, else the one that runs on the folder `data`, else the default address.

    Raises ServerUnreachable if a data folder is named and no system runs on it.
    """
    folder = DataFolder.at(data or DEFAULT_DATA)
    run = folder.read_run() if folder.is_locked() else None
    if url is None and data is not None and run is None:
        raise ServerUnreachable(f"no Vitrine runs on {folder.root}: start it with `vitrine up --data {data}`")
    wanted = (url or (run.url if run else DEFAULT_URL)).rstrip("/")
    is_here = run is not None and run.url == wanted
    return Target(wanted, os.environ.get("VITRINE_API_KEY") or None, folder if is_here else None)


class ApiRefused(CommandFailed):
    """The search API answered with an error. `answer_status` and `answer_code` are its status and code."""

    def __init__(self, detail: str, *, status: int, code: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.answer_status = status
        self.answer_code = code

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed in a moment."""
        return self.answer_status in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)


class Api:
    """A connection to one search API. Close it, or use it as a context manager."""

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
        """The picture at an address that an answer named."""
        with self._reaching():
            answer = self._client.get(address)
        if answer.is_error:
            self._content(answer, address)
        return answer.content

    def events(self, path: str, *, last_id: str | None = None) -> Iterator[Json]:
        """The data of the server-sent events at `path`, until the event `end` or the end of the stream.

        Raises ServerUnreachable if the answer is not such a stream or its data is not JSON.
        """
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with self._reaching(), connect_sse(self._client, "GET", path, headers=headers) as source:
            answer = source.response
            if answer.is_error or not answer.headers.get("content-type", "").startswith(_EVENT_STREAM):
                answer.read()
                self._content(answer, path)
                raise self._no_vitrine(answer, path)
            for event in source.iter_sse():
                if event.event == _LAST_EVENT:
                    return
                if not event.data:  # a heartbeat
                    continue
                try:
                    yield json.loads(event.data)
                except ValueError:
                    raise self._no_vitrine(answer, path) from None

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
                "start one with `vitrine up`, or set VITRINE_URL to its address"
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
            f"{self.target.url} is no Vitrine search API: it answered {answer.status_code} "
            f"to {path} with something else; set VITRINE_URL to the address of Vitrine"
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
