"""Check a picture file against limits by its header, without decoding it and without an image library.

The cost of decoding is estimated from the header too (`decode_cost`), so that a service can refuse or queue the work.
The constants were measured with Pillow on plain pictures of the largest size, and rounded up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vitrine.errors import ImageRejected
from vitrine.images.formats import FORMAT_NAMES, FORMATS_TEXT, PictureFormat, format_name
from vitrine.images.headers import FileCorrupt, FileTruncated, FormatUnknown, PictureHeader, read_header

REASONS: Final = frozenset(
    {"empty", "format_unsupported", "truncated", "corrupt", "too_large", "too_small", "aspect", "bytes_exceeded"}
)

# Nanoseconds of one core: for a JPEG per pixel and per byte of the file, for a progressive one also per pixel and scan,
# for a PNG per byte of samples, for the others per pixel. _PIXEL_NS is the handling of a decoded pixel.
_JPEG_PIXEL_NS: Final = 1.0
_JPEG_BYTE_NS: Final = 15.0
_PROGRESSIVE_PIXEL_NS: Final = 4.0
_SCAN_PIXEL_NS: Final = 1.0
_PNG_BYTE_NS: Final = 4.4
_WEBP_PIXEL_NS: Final = 34.0
_AVIF_PIXEL_NS: Final = 45.0
_HEIF_PIXEL_NS: Final = 45.0
_GIF_PIXEL_NS: Final = 12.0
_BMP_PIXEL_NS: Final = 4.0
_TIFF_BYTE_NS: Final = 8.0
_PIXEL_NS: Final = 5.0
# Pillow needs 4 bytes per pixel. libwebp's animation decoder has two canvases of 4 and returns a third, and lossless
# decoding has another buffer. A progressive JPEG keeps all its coefficients, 2 bytes each.
_PIXEL_BYTES: Final = 4
_WEBP_PIXEL_BYTES: Final = 16
_LOSSLESS_PIXEL_BYTES: Final = 20
_COEFFICIENT_BYTES: Final = 2
# These decoders hold planes of the picture, an RGB copy of them and its bytes. TIFF files may be one strip.
_AVIF_PIXEL_BYTES: Final = 12
_HEIF_PIXEL_BYTES: Final = 9
_BMP_PIXEL_BYTES: Final = 7
# A JPEG that is much larger than the wanted size is decoded at a smaller scale.
_SCALED_JPEG_PIXELS: Final = 4_000_000
# A JPEG of more than `max_pixels` is decoded at a smaller scale too, if its short side keeps at least this.
_REDUCED_SHORT_SIDE_PX: Final = 512


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits for picture files. Sides and pixels are those of the header, before any scaling; for a JPEG, which can be
    decoded at 1/2, 1/4 or 1/8 of its size, those at the scale at which it is decoded, and `max_jpeg_pixels` before it.

    `max_pixels` may be lowered but not raised, because decode costs were measured up to it. `max_decode_s` and
    `max_decode_bytes` limit the cost of decoding, so expensive formats may have fewer pixels: a lossless WebP 13
    million, a HEIC 25 million as phones write them.
    """

    max_pixels: int = 32_000_000
    max_jpeg_pixels: int = 200_000_000
    max_side_px: int = 8192
    min_side_px: int = 8
    max_aspect: float = 20.0
    max_bytes: int = 20_000_000
    max_decode_s: float = 1.25
    max_decode_bytes: int = 268_000_000


DEFAULT_LIMITS: Final = ImageLimits()


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """Estimated seconds of one core, and peak memory in bytes."""

    cpu_s: float
    memory_bytes: int


def jpeg_scale(header: PictureHeader, short_side_px: int) -> int:
    """The factor (1, 2, 4 or 8) by which a JPEG can be decoded smaller if `short_side_px` is enough."""
    most = min(header.width, header.height) // short_side_px
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or scale <= most)


def jpeg_least_scale(header: PictureHeader, limits: ImageLimits) -> int:
    """The factor (1, 2, 4 or 8) by which a JPEG must be decoded smaller to keep the limits; 1 for other formats, and if
    no factor is enough. Phones' pictures of 48 to 200 million pixels are decoded so, in catalogues and in searches.
    """
    if header.format != "JPEG":
        return 1
    width, height = header.width, header.height
    for scale in (1, 2, 4, 8):
        if scale > 1 and min(width, height) // scale < _REDUCED_SHORT_SIDE_PX:
            break
        small_width, small_height = -(-width // scale), -(-height // scale)
        if max(small_width, small_height) <= limits.max_side_px and small_width * small_height <= limits.max_pixels:
            return scale
    return 1


def decode_cost(header: PictureHeader, file_bytes: int, *, short_side_px: int | None = None) -> DecodeCost:
    """Estimate the cost of decoding a picture to a short side of at least `short_side_px`, or for a network's input."""
    pixels = header.width * header.height
    if header.format == "JPEG":
        decoded = (
            min(pixels, _SCALED_JPEG_PIXELS)
            if short_side_px is None
            else pixels // max(jpeg_scale(header, short_side_px), jpeg_least_scale(header, DEFAULT_LIMITS)) ** 2
        )
        nanoseconds = pixels * _JPEG_PIXEL_NS + file_bytes * _JPEG_BYTE_NS
        memory_bytes = decoded * _PIXEL_BYTES
        if header.scans:
            nanoseconds += pixels * (_PROGRESSIVE_PIXEL_NS + header.scans * _SCAN_PIXEL_NS)
            memory_bytes += round(pixels * header.coefficients * _COEFFICIENT_BYTES)
    elif header.format == "GIF":
        decoded, nanoseconds, memory_bytes = pixels, pixels * _GIF_PIXEL_NS, pixels * 2 * _PIXEL_BYTES
    elif header.format == "BMP":
        decoded, nanoseconds, memory_bytes = pixels, pixels * _BMP_PIXEL_NS, pixels * _BMP_PIXEL_BYTES
    elif header.format == "TIFF":
        decoded, sample_bytes = pixels, pixels * header.channels * max(header.bits, 8) // 8
        nanoseconds = sample_bytes * _TIFF_BYTE_NS
        memory_bytes = pixels * _PIXEL_BYTES + sample_bytes
    elif header.format == "AVIF":
        coded = max(pixels, header.coded_pixels)
        decoded, nanoseconds, memory_bytes = pixels, coded * _AVIF_PIXEL_NS, coded * _AVIF_PIXEL_BYTES
    elif header.format == "HEIF":
        coded = max(pixels, header.coded_pixels)
        decoded, nanoseconds, memory_bytes = pixels, coded * _HEIF_PIXEL_NS, coded * _HEIF_PIXEL_BYTES
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
    """Read a picture's header and check it against the limits. Raises ImageRejected.

    A picture that passes may still turn out to be damaged when it is decoded.
    """
    if not data:
        raise ImageRejected("empty", "the picture file is empty")
    if len(data) > limits.max_bytes:
        raise ImageRejected("bytes_exceeded", f"the picture file has {len(data)} bytes, {limits.max_bytes} are allowed")
    header = picture_header(data)
    width, height = header.width, header.height
    if min(width, height) < 1:
        raise ImageRejected("corrupt", f"the {FORMAT_NAMES[header.format]} file has a picture without size")
    scale = jpeg_least_scale(header, limits)
    small_width, small_height = -(-width // scale), -(-height // scale)
    if max(small_width, small_height) > limits.max_side_px or small_width * small_height > limits.max_pixels:
        raise ImageRejected(
            "too_large",
            f"the picture has {width} x {height} pixels; "
            f"{limits.max_side_px} on a side and {limits.max_pixels} in all are allowed",
        )
    if width * height > max(limits.max_jpeg_pixels, limits.max_pixels):
        raise ImageRejected(
            "too_large",
            f"the picture has {width} x {height} pixels; a JPEG may have {limits.max_jpeg_pixels / 1e6:.0f} million",
        )
    check_form("picture", width, height, limits=limits)
    cost = decode_cost(header, len(data))
    share = max(cost.cpu_s / limits.max_decode_s, cost.memory_bytes / limits.max_decode_bytes)
    if share > 1:
        raise ImageRejected(
            "too_large",
            f"the picture has {width} x {height} pixels, which costs too much to decode as this "
            f"{FORMAT_NAMES[header.format]} file: "
            f"about {width * height / share / 1e6:.0f} million are accepted; send it smaller, or as a baseline JPEG",
        )
    return header


def check_form(what: str, width: int, height: int, *, limits: ImageLimits) -> None:
    """Check the sides of a picture, or of a part of it, against the minimum side and the aspect ratio. Raises
    ImageRejected.
    """
    if min(width, height) < limits.min_side_px:
        raise ImageRejected(
            "too_small", f"the {what} has {width} x {height} pixels; each side needs {limits.min_side_px}"
        )
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ImageRejected(
            "aspect",
            f"the {what} has {width} x {height} pixels; one side may be {limits.max_aspect:g} times the other",
        )


def inspect_image(data: bytes) -> tuple[PictureFormat, int, int]:
    """The format, width and height in pixels as stored. Checks no limits. Raises ImageRejected."""
    if not data:
        raise ImageRejected("empty", "the picture file is empty")
    header = picture_header(data)
    return header.format, header.width, header.height


def picture_header(data: bytes) -> PictureHeader:
    """Read a picture's header without checking limits. Raises ImageRejected."""
    try:
        return read_header(bytes(data))
    except FormatUnknown as error:
        detail = f"the file is {error}, which is not read; send a {FORMATS_TEXT} picture"
        raise ImageRejected("format_unsupported", detail) from None
    except FileTruncated:
        raise ImageRejected("truncated", f"the {format_name(data)} file ends too early") from None
    except FileCorrupt as error:
        raise ImageRejected("corrupt", str(error)) from None
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ImageRejected("corrupt", f"the header of the {format_name(data)} file cannot be read") from error
