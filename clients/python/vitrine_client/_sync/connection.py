# Generated from _async/connection.py by `make docs`.
"""The connection to a search API: pooled, with timeouts and retries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from vitrine_client.errors import AnswerInvalid, PictureUnusable, VitrineError
from vitrine_client.pictures import MAX_REDIRECTS, Link, Picture, Upload, read_picture
from vitrine_client.requests import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    client_options,
    content_of,
    pause_before_retry_s,
    transport_error,
    user_agent,
)

NDJSON: Final = "application/x-ndjson"
_NO_ANSWER = (httpx.TransportError, httpx.InvalidURL)


class Connection:
    """Calls as JSON in and out. Every failure is a VitrineError."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        options = client_options(url, api_key, timeout_s)
        try:
            self._http = httpx.Client(**options, transport=transport)
        except (httpx.InvalidURL, ValueError) as error:  # an address that cannot be parsed
            raise transport_error(error, options["base_url"]) from error
        self._max_retries = max_retries

    @property
    def url(self) -> str:
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, *, repeatable: bool = False, **options: Any) -> dict[str, Any]:
        """The JSON object that a call answers. `options` are those of httpx: params, json, data, files, headers.

        A call that only reads (each GET, and those with `repeatable`) is also repeated if its answer is lost.
        """
        return content_of(self.answer(method, path, repeatable=repeatable, **options))

    def answer(self, method: str, path: str, *, repeatable: bool = False, **options: Any) -> httpx.Response:
        """A successful answer. Raises VitrineError."""
        only_reads = repeatable or method == "GET"
        attempt = 0
        while True:
            try:
                return self._once(method, path, options)
            except VitrineError as error:
                pause_s = pause_before_retry_s(error, attempt, only_reads=only_reads)
                if pause_s is None or attempt >= self._max_retries:
                    raise
            attempt += 1
            time.sleep(pause_s)

    def _once(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except _NO_ANSWER as error:
            raise transport_error(error, self.url) from error
        if answer.is_error:
            content_of(answer)
        return answer

    @contextmanager
    def stream(self, path: str, *, media_type: str, **options: Any) -> Iterator[Iterator[str]]:
        """The lines of an answer of this media type, as they arrive. Raises VitrineError, also while lines are read."""
        headers = {"Accept": media_type, **options.pop("headers", {})}
        try:
            with self._http.stream("GET", path, headers=headers, **options) as answer:
                if answer.is_error or not answer.headers.get("content-type", "").startswith(media_type):
                    answer.read()
                    content_of(answer)
                    raise AnswerInvalid(f"{path} was not answered with {media_type}", status=answer.status_code)
                yield answer.iter_lines()
        except _NO_ANSWER as error:
            raise transport_error(error, self.url) from error

    def file(self, address: str, **parameters: str | int) -> bytes:
        """The file at an address that an answer named. Raises AnswerInvalid if it is on another host."""
        url = self._http.base_url.join(address)
        if (url.scheme, url.host, url.port) != (
            self._http.base_url.scheme,
            self._http.base_url.host,
            self._http.base_url.port,
        ):
            raise AnswerInvalid(f"{address} is not an address of {self.url}")
        return (self.answer("GET", str(url.copy_merge_params(parameters)))).content

    def part(self, picture: Picture) -> Upload | bytes:
        """What is sent for a picture: its bytes, or the upload it is. Raises PictureUnusable."""
        if isinstance(picture, Upload):
            return picture
        return fetch(picture) if isinstance(picture, Link) else read_picture(picture)


def fetch(link: Link, *, transport: httpx.BaseTransport | None = None) -> bytes:
    """The bytes behind a link. Raises PictureUnusable."""
    with httpx.Client(
        timeout=link.timeout_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        headers={"User-Agent": user_agent()},
        transport=transport,
    ) as http:
        try:
            return _read(http, link)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PictureUnusable(f"{link.url} cannot be fetched: {error or type(error).__name__}") from error


def _read(http: httpx.Client, link: Link) -> bytes:
    end_s = time.monotonic() + link.timeout_s
    with http.stream("GET", link.url) as answer:
        if answer.is_error:
            raise PictureUnusable(f"{link.url} was answered with {answer.status_code} {answer.reason_phrase}")
        data = bytearray()
        for chunk in answer.iter_bytes():
            data += chunk
            if len(data) > link.max_bytes:
                raise PictureUnusable(f"{link.url} has more than {link.max_bytes:,} bytes")
            if time.monotonic() > end_s:
                raise PictureUnusable(f"{link.url} did not arrive within {link.timeout_s:g} s")
    return bytes(data)
