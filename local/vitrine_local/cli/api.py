"""The search API as the commands call it: where it is, JSON in and out, and every failure as a LocalError with the code
and the sentence of the server.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from vitrine_client import ApiError, PictureUnusable, Vitrine, VitrineError
from vitrine_local.data_folder import DataFolder
from vitrine_local.errors import CommandFailed, ServerUnreachable, UsageInvalid

Json = dict[str, Any]

DEFAULT_DATA: Final = Path(".vitrine")
DEFAULT_URL: Final = "http://127.0.0.1:8000"
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


class Api:
    """A connection to one search API. Close it, or use it as a context manager.

    `client` is the client it calls; `local_errors` makes LocalErrors of its errors.
    """

    def __init__(self, target: Target, *, max_retries: int = 0, transport: httpx.BaseTransport | None = None) -> None:
        self.target = target
        with local_errors():
            self.client = Vitrine(target.url, api_key=target.api_key, max_retries=max_retries, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()

    def get(self, path: str, **parameters: str | int) -> Json:
        return self._call("GET", path, params=parameters)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **parameters: str) -> Json:
        return self._call("POST", path, json=body, params=parameters)

    def put(self, path: str, body: Mapping[str, Any]) -> Json:
        return self._call("PUT", path, json=body)

    def text(self, path: str, **parameters: str) -> str:
        """The text of an answer that is not JSON."""
        return self.picture(str(httpx.URL(path, params=parameters))).decode()

    def delete(self, path: str) -> Json:
        return self._call("DELETE", path)

    def post_picture(self, path: str, picture: bytes, fields: Mapping[str, Sequence[str]]) -> Json:
        """Post a form with the picture as its file `image`."""
        return self._call("POST", path, files={"image": ("query", picture)}, data=dict(fields))

    def picture(self, address: str) -> bytes:
        """The picture at an address that an answer named."""
        with local_errors():
            return self.client.picture(address)

    def job_records(
        self, job_id: str, *, patience_s: float, clock: Callable[[], float], pause: Callable[[float], None]
    ) -> Iterator[Json]:
        """Each version of a job's record that is seen, the finished one last."""
        with local_errors():
            yield from self.client.jobs.follow_records(job_id, patience_s=patience_s, clock=clock, pause=pause)

    def _call(self, method: str, path: str, **options: Any) -> Json:
        with local_errors():
            return self.client.request(method, path, **options)


@contextlib.contextmanager
def local_errors() -> Iterator[None]:
    """Raise LocalErrors in place of the client's errors."""
    try:
        yield
    except ApiError as error:
        advice = "; give the key in VITRINE_API_KEY" if error.code in _KEY_WANTED else ""
        raise ApiRefused(f"{error.detail}{advice}", status=error.status, code=error.code) from error
    except PictureUnusable as error:
        raise UsageInvalid(error.detail) from error
    except VitrineError as error:
        raise ServerUnreachable(error.detail) from error
