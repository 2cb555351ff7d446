"""Multipart bodies, read once into memory. The body's size is bounded before it gets here, so a picture is never
spooled to disk, and text and pictures come out of one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from vitrine.errors import ImageMissing, MediaTypeUnsupported, ParameterInvalid

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS: Final = 400


@dataclass(frozen=True, slots=True)
class Part:
    """One part: `data` is the bytes as they came."""

    name: str
    data: bytes
    is_file: bool


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of one body, in their order."""

    parts: tuple[Part, ...]

    def pictures(self, name: str) -> list[bytes]:
        """The bytes of every part of this name, with a file name or without."""
        return [part.data for part in self.parts if part.name == name]

    def one_picture(self, name: str) -> bytes:
        """The one picture of this name. Raises ImageMissing without it, ParameterInvalid where there are several."""
        pictures = self.pictures(name)
        if not pictures:
            raise ImageMissing(f"the form has no picture: send it as the file {name!r}")
        if len(pictures) > 1:
            raise ParameterInvalid(f"the form has {len(pictures)} parts named {name!r}: send one picture a call")
        return pictures[0]

    def fields(self, *, except_for: frozenset[str]) -> Iterator[tuple[str, str]]:
        """The text parts as (name, value). Raises ParameterInvalid for a file where text belongs."""
        for part in self.parts:
            if part.name in except_for:
                continue
            if part.is_file:
                raise ParameterInvalid(f"the form's file {part.name[:80]!r} is not expected")
            try:
                yield part.name, part.data.decode()
            except UnicodeDecodeError:
                raise ParameterInvalid(f"the form's field {part.name[:80]!r} is not UTF-8") from None


def media_type(request: Request) -> str:
    """The body's media type without its parameters, in lower case; empty where none is told."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ParameterInvalid where the client goes away in the middle."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise ParameterInvalid("the connection was closed before the body was complete") from None


async def read_form(request: Request) -> Form:
    """Read a multipart body.

    Raises ImageMissing for no body at all, MediaTypeUnsupported for another type, ParameterInvalid for a broken form.
    """
    if media_type(request) != "multipart/form-data":
        if not request.headers.get("content-type") and not await read_body(request):
            raise ImageMissing("the request has no body: send a multipart form with the picture as the file 'image'")
        raise MediaTypeUnsupported("this call takes a form: multipart/form-data")
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise ParameterInvalid("the Content-Type header names no multipart boundary")
    return _parse(await read_body(request), boundary)


def _parse(body: bytes, boundary: bytes) -> Form:
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise ParameterInvalid("the multipart form cannot be read") from None
    if not collector.ended:
        raise ParameterInvalid("the multipart form ends early: its last boundary is missing")
    return Form(tuple(collector.parts))


class _Collector:
    """Gathers the parser's events into parts."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._data: list[bytes] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._on_end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise ParameterInvalid(f"the form has more than {MAX_PARTS} parts")
        self._header_name = self._header_value = self._disposition = b""
        self._data = []

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def _end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise ParameterInvalid("a part of the form has no name")
        self.parts.append(Part(name.decode("utf-8", "replace"), b"".join(self._data), b"filename" in options))

    def _on_end(self) -> None:
        self.ended = True
