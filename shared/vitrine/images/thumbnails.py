"""Thumbnails: WebP files of a few fixed widths, upright, on white, without metadata. The same picture gives the same
bytes. Widths and costs are known without importing an image library.
"""

from __future__ import annotations

import io
from typing import Final

from vitrine.errors import ParameterInvalid
from vitrine.images.checks import DEFAULT_LIMITS, DecodeCost, ImageLimits, check_image, decode_cost, jpeg_scale
from vitrine.images.headers import PictureHeader

THUMBNAIL_WIDTHS_PX: Final = (64, 128, 256, 512, 1024)
THUMBNAIL_MEDIA_TYPE: Final = "image/webp"
# Taller pictures get a narrower thumbnail, so that the cost stays bounded.
_MAX_HEIGHT_TO_WIDTH: Final = 4
_QUALITY: Final = 80
_METHOD: Final = 4
# Larger pictures are reduced by an integer factor before they are resized. The widest thumbnails still have their full
# width, unless the picture is at least twice as high as wide.
_MAX_RESIZED_PIXELS: Final = 8_000_000
# Nanoseconds of one core per pixel: to encode WebP, measured with soft and noisy pictures; to resize.
_WEBP_PIXEL_NS: Final = 140.0
_RESIZED_PIXEL_NS: Final = 20.0
# Resizing and compositing on white need two more copies.
_RESIZED_PIXEL_BYTES: Final = 8


def check_thumbnail_width(width_px: int) -> int:
    """Return the width. Raises ParameterInvalid if there are no thumbnails of it."""
    if width_px not in THUMBNAIL_WIDTHS_PX:
        known = ", ".join(map(str, THUMBNAIL_WIDTHS_PX[:-1]))
        raise ParameterInvalid(f"width {width_px}: thumbnails are {known} or {THUMBNAIL_WIDTHS_PX[-1]} pixels wide")
    return width_px


def thumbnail_size(picture_size: tuple[int, int], width_px: int) -> tuple[int, int]:
    """(width, height) in pixels of the thumbnail of an upright picture. Small pictures are not enlarged."""
    width, height = picture_size
    scale = min(1.0, width_px / width, _MAX_HEIGHT_TO_WIDTH * width_px / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def thumbnail_cost(header: PictureHeader, file_bytes: int, width_px: int) -> DecodeCost:
    """Estimate the cost of a thumbnail from the picture's header."""
    width, height = thumbnail_size(header.upright_size, width_px)
    short_side_px = min(width, height)
    scale = jpeg_scale(header, short_side_px) if header.format == "JPEG" else 1
    resized = min(header.width * header.height // scale**2, _MAX_RESIZED_PIXELS)
    decoding = decode_cost(header, file_bytes, short_side_px=short_side_px)
    encoding_s = (width * height * _WEBP_PIXEL_NS + resized * _RESIZED_PIXEL_NS) * 1e-9
    return DecodeCost(decoding.cpu_s + encoding_s, decoding.memory_bytes + resized * _RESIZED_PIXEL_BYTES)


def make_thumbnail(data: bytes, width_px: int, *, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """A WebP file of the picture, at most `width_px` wide. Raises ImageRejected."""
    from PIL import Image  # lazy: only the process that creates thumbnails needs it

    from vitrine.images.decode import decode_image

    least_px = min(thumbnail_size(check_image(data, limits=limits).upright_size, width_px))
    image = decode_image(data, target_px=least_px, limits=limits, max_pixels=_MAX_RESIZED_PIXELS)
    size = thumbnail_size(image.size, width_px)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    with io.BytesIO() as file:
        image.save(file, "WEBP", quality=_QUALITY, method=_METHOD)
        return file.getvalue()
