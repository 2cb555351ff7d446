"""Multipart bodies: parsing and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from vitrine.errors import ImageMissing, MediaTypeUnsupported, ParameterInvalid, VitrineError
from vitrine.web.forms import MAX_PARTS, Form, read_form


def read(body: bytes, content_type: str | None, *, chunk_bytes: int = 1 << 20) -> Form:
    chunks = [body[start : start + chunk_bytes] for start in range(0, len(body), chunk_bytes)] or [b""]

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    headers = [(b"content-type", content_type.encode())] if content_type is not None else []
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return asyncio.run(read_form(Request(scope, receive)))


def encode(fields: Sequence[tuple[str, str]] = (), files: Sequence[tuple[str, bytes]] = ()) -> tuple[bytes, str]:
    parts: list[tuple[str, tuple[str | None, bytes | str]]] = [(name, (None, value)) for name, value in fields]
    parts += [(name, ("picture.jpg", data)) for name, data in files]
    request = httpx.Request("POST", "http://test/", files=parts)
    return request.read(), request.headers["content-type"]


def refused(body: bytes, content_type: str | None) -> VitrineError:
    with pytest.raises(VitrineError) as caught:
        read(body, content_type)
    return caught.value


def test_text_and_picture_are_read_unchanged() -> None:
    picture = bytes(range(256)) * 40 + b"\r\n--not-the-boundary\r\n"
    form = read(*encode([("gender", "Women"), ("gender", "Männer"), ("topK", "5")], [("image", picture)]))
    assert form.one_picture("image") == picture
    fields = list(form.fields(except_for=frozenset({"image"})))
    assert fields == [("gender", "Women"), ("gender", "Männer"), ("topK", "5")]


def test_a_body_that_arrives_byte_by_byte_is_read_unchanged() -> None:
    body, content_type = encode([("model", "m")], [("image", b"abc\r\n-")])
    assert read(body, content_type, chunk_bytes=1) == read(body, content_type)


def test_an_empty_body_is_a_missing_picture() -> None:
    assert isinstance(refused(b"", None), ImageMissing)


def test_a_form_without_the_picture_is_a_missing_picture() -> None:
    form = read(*encode([("model", "m")]))
    with pytest.raises(ImageMissing):
        form.one_picture("image")


def test_two_pictures_in_a_single_picture_field_are_refused() -> None:
    form = read(*encode([], [("image", b"a"), ("image", b"b")]))
    with pytest.raises(ParameterInvalid, match="2 parts"):
        form.one_picture("image")


@pytest.mark.parametrize("content_type", ["application/json", "image/jpeg", "text/plain; charset=utf-8"])
def test_another_media_type_is_unsupported(content_type: str) -> None:
    assert isinstance(refused(b"{}", content_type), MediaTypeUnsupported)


def test_a_form_without_a_boundary_is_refused() -> None:
    assert isinstance(refused(b"--x\r\n", "multipart/form-data"), ParameterInvalid)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_form_that_ends_early_is_refused(keep: float) -> None:
    body, content_type = encode([("model", "m")], [("image", b"x" * 1000)])
    assert isinstance(refused(body[: int(len(body) * keep)], content_type), ParameterInvalid)


def test_a_body_that_is_not_a_form_is_refused() -> None:
    assert isinstance(refused(b"hello there", "multipart/form-data; boundary=x"), ParameterInvalid)


def test_a_part_without_a_name_is_refused() -> None:
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--x--\r\n"
    assert "no name" in refused(body, "multipart/form-data; boundary=x").detail


def test_an_endless_header_is_refused() -> None:
    body = b"--x\r\nContent-Disposition: form-data; name=" + b"a" * 20_000 + b"\r\n\r\nvalue\r\n--x--\r\n"
    assert isinstance(refused(body, "multipart/form-data; boundary=x"), ParameterInvalid)


def test_more_parts_than_allowed_are_refused() -> None:
    body, content_type = encode([(f"field{number}", "v") for number in range(MAX_PARTS + 1)])
    assert "more than" in refused(body, content_type).detail


def test_text_that_is_not_utf8_is_refused() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="gender"\r\n\r\n\xff\xfe\r\n--x--\r\n'
    form = read(body, "multipart/form-data; boundary=x")
    with pytest.raises(ParameterInvalid, match="UTF-8"):
        list(form.fields(except_for=frozenset()))


def test_a_file_in_a_text_field_is_refused() -> None:
    form = read(*encode([], [("gender", b"Women")]))
    with pytest.raises(ParameterInvalid, match="not expected"):
        list(form.fields(except_for=frozenset({"image"})))


def test_a_client_that_disconnects_is_reported_as_a_bad_request() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    with pytest.raises(ParameterInvalid, match="closed"):
        asyncio.run(read_form(Request(scope, receive)))
