"""Decoding any bytes gives an RGB picture within the limits or raises ImageRejected."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pillow_heif.as_plugin import _save_heif

from vitrine.errors import ImageRejected
from vitrine.images.checks import DEFAULT_LIMITS, REASONS, inspect_image
from vitrine.images.decode import decode_image
from vitrine.images.formats import MEDIA_TYPES


def _seed_pictures() -> list[bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    saved: list[tuple[Image.Image, str, dict[str, object]]] = [
        (image, "JPEG", {}),
        (image, "JPEG", {"progressive": True, "exif": exif.tobytes()}),
        (image.convert("CMYK"), "JPEG", {}),
        (image.convert("L"), "JPEG", {"restart_marker_blocks": 1}),
        (image, "PNG", {"transparency": (0, 0, 0)}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("RGBA"), "PNG", {"exif": exif.tobytes()}),
        (image.convert("1"), "PNG", {}),
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (image, "PNG", {"save_all": True, "append_images": [image.rotate(90)]}),
        (image, "WEBP", {"exif": exif.tobytes()}),
        (image.convert("RGBA"), "WEBP", {"lossless": True}),
        (image, "WEBP", {"save_all": True, "append_images": [image.rotate(180)]}),
        (image.quantize(64), "GIF", {"transparency": 3}),
        (image.quantize(64), "GIF", {"save_all": True, "append_images": [image.rotate(90)], "interlace": 1}),
        (image, "BMP", {}),
        (image.quantize(16), "BMP", {}),
        (image, "TIFF", {"compression": "tiff_lzw", "exif": exif.tobytes()}),
        (image.convert("CMYK"), "TIFF", {"compression": "tiff_adobe_deflate"}),
        (Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), "TIFF", {}),
        (image, "TIFF", {"compression": "jpeg"}),
        (image.convert("RGBA"), "AVIF", {}),
        (image, "AVIF", {"exif": exif.tobytes()}),
        (image, "HEIF", {"exif": exif.tobytes()}),
        (image.convert("RGBA"), "HEIF", {}),
    ]
    pictures = []
    for picture, image_format, options in saved:
        with io.BytesIO() as file:
            picture = picture.copy()  # saving leaves settings of the encoder in the image
            if image_format == "HEIF":
                picture.encoderinfo, picture.encoderconfig = options, ()
                _save_heif(picture, file, "")
            else:
                picture.save(file, image_format, **options)
            pictures.append(file.getvalue())
    return pictures


SEEDS = _seed_pictures()
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAGICS = [
    b"\xff\xd8\xff", PNG_MAGIC, b"RIFF\x20\0\0\0WEBP", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
    b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", b"",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A seed picture with bytes changed, removed, inserted or repeated, mostly near its beginning."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        reach = draw(st.sampled_from([64, len(data)]))
        start = draw(st.integers(0, max(min(reach, len(data)) - 1, 0)))
        length = draw(st.integers(0, 16))
        what = draw(st.sampled_from(["change", "cut", "insert", "double", "end"]))
        if what == "change":
            data[start : start + length] = draw(st.binary(min_size=length, max_size=length))
        elif what == "cut":
            del data[start : start + length]
        elif what == "insert":
            data[start:start] = draw(st.binary(max_size=16))
        elif what == "double":
            data[start:start] = data[start : start + 40]
        else:
            del data[start:]
    mends = data.startswith(PNG_MAGIC) and draw(st.booleans())
    return with_right_checksums(bytes(data)) if mends else bytes(data)


def with_right_checksums(data: bytes) -> bytes:
    """A PNG with repaired checksums, so that the decoder reads the damaged chunks."""
    mended = bytearray(data)
    position = 8
    while position + 12 <= len(mended):
        end = position + 8 + int.from_bytes(mended[position : position + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[position + 4 : end]))
        position = end + 4
    return bytes(mended)


def decoded(data: bytes, target_px: int | None) -> Image.Image | ImageRejected:
    try:
        return decode_image(data, target_px=target_px)
    except ImageRejected as error:
        return error


def check(data: bytes, target_px: int | None) -> None:
    image = decoded(data, target_px)
    if isinstance(image, ImageRejected):
        assert image.reason in REASONS
        return
    limits = DEFAULT_LIMITS
    assert image.mode == "RGB"
    assert len(image.tobytes()) == image.width * image.height * 3
    assert image.width * image.height <= limits.max_pixels
    assert max(image.size) <= limits.max_side_px
    assert min(image.size) >= limits.min_side_px
    assert max(image.size) <= limits.max_aspect * min(image.size)
    image_format, width, height = inspect_image(data)
    assert image_format in MEDIA_TYPES
    assert sorted((width, height)) == sorted(image.size)


@settings(max_examples=1200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_any_mutation_of_a_picture_is_decoded_or_rejected(data: bytes) -> None:
    check(data, None)


@settings(max_examples=500, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(MAGICS), st.binary(max_size=300), st.sampled_from([None, 16]))
def test_any_bytes_are_decoded_or_rejected(magic: bytes, rest: bytes, target_px: int | None) -> None:
    check(magic + rest, target_px)


def test_the_seed_pictures_themselves_are_decoded() -> None:
    for data in SEEDS:
        assert sorted(decode_image(data).size) == [20, 24]
