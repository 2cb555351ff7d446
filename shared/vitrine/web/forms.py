"""Multipart forms, read into memory by Starlette's parser. `BodyLimit` bounds their size; nothing goes to disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from vitrine.errors import ImageMissing, MediaTypeUnsupported, ParameterInvalid

MAX_PARTS: Final = 400


@dataclass(frozen=True, slots=True)
class Part:
    """One part, with its raw bytes."""

    name: str
    data: bytes
    is_file: bool


@dataclass(frozen=True, slots=True)
class Form:
    """The parts of one body, in order."""

    parts: tuple[Part, ...]

    def pictures(self, name: str) -> list[bytes]:
        """The bytes of every part of this name, with or without a file name."""
        return [part.data for part in self.parts if part.name == name]

    def one_picture(self, name: str) -> bytes:
        """The one picture of this name. Raises ImageMissing if there is none, ParameterInvalid if there are several."""
        pictures = self.pictures(name)
        if not pictures:
            raise ImageMissing(f"the form has no picture: send it as the file {name!r}")
        if len(pictures) > 1:
            raise ParameterInvalid(f"the form has {len(pictures)} parts named {name!r}: send one picture a call")
        return pictures[0]

    def all_pictures(self, name: str, *, most: int) -> list[bytes]:
        """Every part. Raises ImageMissing if there is none, ParameterInvalid for more than `most` or another name."""
        if not self.parts:
            raise ImageMissing(f"the form has no part named {name!r}")
        if len(self.parts) > most:
            raise ParameterInvalid(f"the form has more than {most} pictures")
        if any(part.name != name for part in self.parts):
            raise ParameterInvalid(f"every part of this form is named {name!r}")
        return [part.data for part in self.parts]

    def fields(self, *, except_for: frozenset[str]) -> Iterator[tuple[str, str]]:
        """The text parts as (name, value). Raises ParameterInvalid for a file, or text that is not UTF-8."""
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
    """The body's media type without its parameters, in lower case; empty if the header is missing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ParameterInvalid if the client disconnects before it is complete."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise ParameterInvalid("the connection was closed before the body was complete") from None


async def read_form(request: Request, *, max_parts: int = MAX_PARTS, may_be_absent: bool = False) -> Form:
    """Read a multipart body. With `may_be_absent`, an empty body is a form without parts.

    Raises ImageMissing for an empty body, MediaTypeUnsupported for another type, ParameterInvalid for a broken form.
    """
    if media_type(request) != "multipart/form-data":
        if not request.headers.get("content-type") and not await read_body(request):
            if may_be_absent:
                return Form(())
            raise ImageMissing("the request has no body: send a multipart form with the picture as the file 'image'")
        raise MediaTypeUnsupported("this call takes a form: multipart/form-data")
    parser = _FormParser(request, max_parts=max_parts)
    try:
        await parser.parse()
    except ClientDisconnect:
        raise ParameterInvalid("the connection was closed before the body was complete") from None
    except MultiPartException as error:
        raise ParameterInvalid(f"the multipart form cannot be read: {error.message}") from None
    if not parser.began:
        raise ImageMissing("the form has no parts: send the picture as the file 'image'")
    if not parser.ended:
        raise ParameterInvalid("the multipart form ends early: its last boundary is missing")
    return Form(tuple(parser.parts))


class _FormParser(MultiPartParser):
    """Keeps every part as bytes: a picture may come without a file name, and text is decoded strictly later."""

    def __init__(self, request: Request, *, max_parts: int) -> None:
        super().__init__(request.headers, request.stream())
        self.parts: list[Part] = []
        self.began = self.ended = False
        self._max_parts = max_parts
        self._name = ""
        self._is_file = False

    def on_part_begin(self) -> None:
        super().on_part_begin()
        self.began = True

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._current_part.content_disposition)
        name = options.get(b"name")
        if name is None:
            raise ParameterInvalid("a part of the form has no name")
        if len(self.parts) >= self._max_parts:
            raise ParameterInvalid(f"the form has more than {self._max_parts} parts")
        self._name, self._is_file = name.decode("utf-8", "replace"), b"filename" in options

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._current_part.data += memoryview(data)[start:end]

    def on_part_end(self) -> None:
        self.parts.append(Part(self._name, bytes(self._current_part.data), self._is_file))

    def on_end(self) -> None:
        self.ended = True
