"""Reading a batch's body: the parts named `image` of a multipart form, kept in memory, which the body limit bounds."""

from __future__ import annotations

from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from vitrine.embedding.wire import MAX_BATCH
from vitrine.errors import ImageMissing, MediaTypeUnsupported, ParameterInvalid

PART_NAME: Final = "image"


def boundary_of(content_type: str | None) -> bytes:
    """The boundary of a multipart body. Raises MediaTypeUnsupported where the body is of another type."""
    kind, options = parse_options_header(content_type or "")
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise MediaTypeUnsupported("send the pictures as multipart/form-data, each in a part named 'image'")
    return boundary


def pictures_of(body: bytes, boundary: bytes) -> list[bytes]:
    """The pictures of a batch, in order.

    Raises ImageMissing where there is none, ParameterInvalid where there are more than 256, a part has another name or
    the body is not well formed.
    """
    reader = _Reader()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.part_begin,
                "on_header_field": reader.header_field,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
                "on_headers_finished": reader.headers_finished,
                "on_part_data": reader.part_data,
                "on_end": reader.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (MultipartParseError, ValueError) as error:
        raise ParameterInvalid(f"the multipart body is not well formed: {error}") from error
    if not reader.pictures:
        raise ImageMissing("the body has no part named 'image'")
    if not reader.ended:
        raise ParameterInvalid("the multipart body ends too early: its last boundary is missing")
    return [bytes(picture) for picture in reader.pictures]


class _Reader:
    """Collects the parts as the parser finds them."""

    def __init__(self) -> None:
        self.pictures: list[bytearray] = []
        self.ended = False
        self._field = bytearray()
        self._value = bytearray()
        self._disposition = b""

    def part_begin(self) -> None:
        self._disposition = b""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != PART_NAME.encode():
            raise ParameterInvalid(f"every part of a batch is named {PART_NAME!r}")
        if len(self.pictures) == MAX_BATCH:
            raise ParameterInvalid(f"a batch has at most {MAX_BATCH} pictures")
        self.pictures.append(bytearray())

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self.pictures[-1] += memoryview(data)[start:end]

    def end(self) -> None:
        self.ended = True
