"""What a picture file may be, checked on its header alone: nothing here decodes a pixel or imports an image library.

What decoding would cost is estimated from the header too (`decode_cost`), so that a service can refuse or wait before
it starts. The estimates are Pillow's: seconds of one core and bytes at the peak, measured with plain pictures of the
largest size, and rounded up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vitrine.errors import ImageRejected
from vitrine.images.headers import FileCorrupt, FileTruncated, FormatUnknown, PictureHeader, read_header

REASONS: Final = frozenset(
    {"empty", "format_unsupported", "truncated", "corrupt", "too_large", "too_small", "aspect", "bytes_exceeded"}
)
# What each format is called over HTTP and on disk.
MEDIA_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
SUFFIXES: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}

# Nanoseconds of one core: a JPEG's for each pixel and for each byte of the file, a progressive one's for each pixel and
# scan too, a PNG's for each byte of its samples, a WebP's for each pixel. A decoded pixel is moved for a few more.
_JPEG_PIXEL_NS: Final = 1.0
_JPEG_BYTE_NS: Final = 15.0
_PROGRESSIVE_PIXEL_NS: Final = 4.0
_SCAN_PIXEL_NS: Final = 1.0
_PNG_BYTE_NS: Final = 4.4
_WEBP_PIXEL_NS: Final = 34.0
_PIXEL_NS: Final = 5.0
# Pillow keeps 4 bytes for a pixel. libwebp's animation decoder keeps two canvases of 4 and hands out a third, and
# lossless decoding has a buffer of its own. A progressive JPEG's coefficients have 2 bytes each, all at once.
_PIXEL_BYTES: Final = 4
_WEBP_PIXEL_BYTES: Final = 16
_LOSSLESS_PIXEL_BYTES: Final = 20
_COEFFICIENT_BYTES: Final = 2
# A JPEG much larger than what it is wanted for is decoded at a smaller scale.
_SCALED_JPEG_PIXELS: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture may measure. Sides and pixels are those of the file's header, before any scaling.

    The smallest side is 8: catalogue thumbnails are 60 pixels wide. `max_pixels` may be set lower and not higher: what
    decoding costs was measured up to it. `max_decode_s` and `max_decode_bytes` bound what
    decoding may cost, so a format that is expensive to decode may have fewer pixels: 13 million as a lossless WebP.
    """

    max_pixels: int = 32_000_000
    max_side_px: int = 8192
    min_side_px: int = 8
    max_aspect: float = 20.0
    max_bytes: int = 20_000_000
    max_decode_s: float = 0.8
    max_decode_bytes: int = 268_000_000


DEFAULT_LIMITS: Final = ImageLimits()


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """An estimate: seconds of one core, bytes of memory at the peak."""

    cpu_s: float
    memory_bytes: int


def jpeg_scale(header: PictureHeader, short_side_px: int) -> int:
    """By what a JPEG is decoded smaller, 1, 2, 4 or 8, if its short side need only have so many pixels."""
    most = min(header.width, header.height) // short_side_px
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or scale <= most)


def decode_cost(header: PictureHeader, file_bytes: int, *, short_side_px: int | None = None) -> DecodeCost:
    """What it costs to decode a picture for a network, whose input is much smaller than a large picture, or, where
    given, to a short side of `short_side_px` or more.
    """
    pixels = header.width * header.height
    if header.format == "JPEG":
        decoded = (
            min(pixels, _SCALED_JPEG_PIXELS)
            if short_side_px is None
            else pixels // jpeg_scale(header, short_side_px) ** 2
        )
        nanoseconds = pixels * _JPEG_PIXEL_NS + file_bytes * _JPEG_BYTE_NS
        memory_bytes = decoded * _PIXEL_BYTES
        if header.scans:
            nanoseconds += pixels * (_PROGRESSIVE_PIXEL_NS + header.scans * _SCAN_PIXEL_NS)
            memory_bytes += pixels * header.channels * _COEFFICIENT_BYTES
    elif header.format == "PNG":
        decoded = pixels
        nanoseconds = pixels * header.channels * header.bits / 8 * _PNG_BYTE_NS
        memory_bytes = pixels * _PIXEL_BYTES
    else:
        decoded = pixels
        nanoseconds = pixels * _WEBP_PIXEL_NS
        memory_bytes = pixels * (_LOSSLESS_PIXEL_BYTES if header.lossless else _WEBP_PIXEL_BYTES)
    return DecodeCost((nanoseconds + decoded * _PIXEL_NS) * 1e-9, memory_bytes)


def check_image(data: bytes, *, limits: ImageLimits = DEFAULT_LIMITS) -> PictureHeader:
    """Read a picture's header and hold it against the limits, decoding nothing. Raises ImageRejected.

    A picture that passes may still turn out damaged when it is decoded.
    """
    if not data:
        raise ImageRejected("empty", "the picture file is empty")
    if len(data) > limits.max_bytes:
        raise ImageRejected("bytes_exceeded", f"the picture file has {len(data)} bytes, {limits.max_bytes} are allowed")
    header = picture_header(data)
    width, height = header.width, header.height
    if min(width, height) < 1:
        raise ImageRejected("corrupt", f"the {header.format} file gives its picture no size")
    if max(width, height) > limits.max_side_px or width * height > limits.max_pixels:
        raise ImageRejected(
            "too_large",
            f"the picture has {width} x {height} pixels; "
            f"{limits.max_side_px} on a side and {limits.max_pixels} in all are allowed",
        )
    check_form("picture", width, height, limits=limits)
    cost = decode_cost(header, len(data))
    share = max(cost.cpu_s / limits.max_decode_s, cost.memory_bytes / limits.max_decode_bytes)
    if share > 1:
        raise ImageRejected(
            "too_large",
            f"the picture has {width} x {height} pixels, which costs too much to decode as this {header.format} file: "
            f"about {width * height / share / 1e6:.0f} million are accepted; send it smaller, or as a baseline JPEG",
        )
    return header


def check_form(what: str, width: int, height: int, *, limits: ImageLimits) -> None:
    """Hold the sides of a picture, or of a part of one, against the least side and the aspect. Raises ImageRejected."""
    if min(width, height) < limits.min_side_px:
        raise ImageRejected(
            "too_small", f"the {what} has {width} x {height} pixels; each side needs {limits.min_side_px}"
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ImageRejected(
            "aspect",
            f"the {what} has {width} x {height} pixels; one side may be {limits.max_aspect:g} times the other",
        )


def inspect_image(data: bytes) -> tuple[str, int, int]:
    """Format (JPEG, PNG or WEBP), width and height in pixels as stored, from the header alone.

    Checks no limit but that there is something to read. Raises ImageRejected.
    """
    if not data:
        raise ImageRejected("empty", "the picture file is empty")
    header = picture_header(data)
    return header.format, header.width, header.height


def picture_header(data: bytes) -> PictureHeader:
    """What a file says about its picture. Checks no limit. Raises ImageRejected."""
    try:
        return read_header(bytes(data))
    except FormatUnknown:
        raise ImageRejected("format_unsupported", "the file is no JPEG, PNG or WebP picture") from None
    except FileTruncated:
        raise ImageRejected("truncated", "the picture file ends too early") from None
    except FileCorrupt as error:
        raise ImageRejected("corrupt", str(error)) from None
    except (struct.error, IndexError, ValueError) as error:
        raise ImageRejected("corrupt", "the picture's header cannot be read") from error
