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
_MAX_TEXT_BYTES: Final = 4_096
_URLENCODED: Final = " (the type of `curl -d` and `--data-binary` unless another is named)"


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
            others = [part.name for part in self.parts if part.is_file]
            instead = f", not {others[0][:80]!r}" if others else ""
            raise ImageMissing(f"the form has no picture: send it as the file {name!r}{instead}")
        if len(pictures) > 1:
            raise ParameterInvalid(f"the form has {len(pictures)} parts named {name!r}: send one picture a call")
        if text := next((_plain_text(part) for part in self.parts if part.name == name), None):
            raise ImageMissing(_text_for_picture(name, text))
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
                known = " or ".join(map(repr, sorted(except_for)))
                raise ParameterInvalid(
                    f"the form's file {part.name[:80]!r} is not expected"
                    + (f": send the picture as {known}" if known else "")
                )
            try:
                yield part.name, part.data.decode()
            except UnicodeDecodeError:
                raise ParameterInvalid(f"the form's field {part.name[:80]!r} is not UTF-8") from None


def _plain_text(part: Part) -> str | None:
    """The text of a part that has a line of text where a picture should be, such as a path or a link."""
    if part.is_file or not 0 < len(part.data) <= _MAX_TEXT_BYTES:
        return None
    try:
        text = part.data.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _text_for_picture(name: str, text: str) -> str:
    shown = repr(text[:80])
    if text.lower().startswith(("http://", "https://")):
        return (
            f"the form's field {name!r} is a link, {shown}, and links are not fetched: download the picture and send "
            f"the file itself (`curl -F {name}=@FILE`)"
        )
    return (
        f"the form's field {name!r} is text, {shown}, not a picture: send the file itself "
        f"(with curl an @ goes before its name: `-F {name}=@FILE`)"
    )


def media_type(request: Request) -> str:
    """The body's media type without its parameters, in lower case; empty if the header is missing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_picture(request: Request) -> bool:
    """Whether the body is a picture itself and not a form: a media type of pictures, or of bytes in general."""
    found = media_type(request)
    return found.startswith("image/") or found == "application/octet-stream"


async def read_picture_body(request: Request) -> bytes:
    """The body as a picture. Raises ImageMissing if it is empty."""
    data = await read_body(request)
    if not data:
        raise ImageMissing("the request has no body: send the picture's bytes")
    return data


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
        raise MediaTypeUnsupported(
            f"this call takes a form (multipart/form-data) with the picture as its file, for example "
            f"`curl -F image=@FILE`, not {media_type(request)[:80] or 'a body without a Content-Type'}"
            + (_URLENCODED if media_type(request) == "application/x-www-form-urlencoded" else "")
        )
    parser = _FormParser(request, max_parts=max_parts)
    try:
        await parser.parse()
    except ClientDisconnect:
        raise ParameterInvalid("the connection was closed before the body was complete") from None
    except MultiPartException as error:
        advice = "; leave Content-Type to the client, which adds the boundary" if "oundary" in error.message else ""
        raise ParameterInvalid(f"the multipart form cannot be read: {error.message.rstrip('.')}{advice}") from None
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
