"""Small pictures for pages: a WebP of one of a few widths, upright, on white, without metadata. The same picture gives
the same bytes. Which widths there are, and what one costs, is known without an image library.
"""

from __future__ import annotations

import io
from typing import Final

from vitrine.errors import ParameterInvalid
from vitrine.images.checks import DEFAULT_LIMITS, DecodeCost, ImageLimits, check_image, decode_cost, jpeg_scale
from vitrine.images.headers import PictureHeader

THUMBNAIL_WIDTHS_PX: Final = (64, 128, 256, 512, 1024)
THUMBNAIL_MEDIA_TYPE: Final = "image/webp"
# A picture that is taller is made narrower instead: a strip of any height costs as much as a large picture.
_MAX_HEIGHT_TO_WIDTH: Final = 4
_QUALITY: Final = 80
_METHOD: Final = 4
# What is larger is reduced by a whole factor before it is resized. That leaves the widest thumbnails their width, but
# for pictures that are twice as high as wide or more.
_MAX_RESIZED_PIXELS: Final = 8_000_000
# Nanoseconds of one core: a pixel of the WebP, measured with soft and noisy pictures; a pixel that is resized.
_WEBP_PIXEL_NS: Final = 140.0
_RESIZED_PIXEL_NS: Final = 20.0
# Resizing and putting on white keep two more copies.
_RESIZED_PIXEL_BYTES: Final = 8


def check_thumbnail_width(width_px: int) -> int:
    """The width, if there are thumbnails of it. Raises ParameterInvalid."""
    if width_px not in THUMBNAIL_WIDTHS_PX:
        known = ", ".join(map(str, THUMBNAIL_WIDTHS_PX[:-1]))
        raise ParameterInvalid(f"width {width_px}: thumbnails are {known} or {THUMBNAIL_WIDTHS_PX[-1]} pixels wide")
    return width_px


def thumbnail_size(picture_size: tuple[int, int], width_px: int) -> tuple[int, int]:
    """(width, height) in pixels of the thumbnail of an upright picture of this size. No picture is enlarged."""
    width, height = picture_size
    scale = min(1.0, width_px / width, _MAX_HEIGHT_TO_WIDTH * width_px / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def thumbnail_cost(header: PictureHeader, file_bytes: int, width_px: int) -> DecodeCost:
    """What it costs to make a thumbnail, estimated from the picture's header."""
    width, height = thumbnail_size(header.upright_size, width_px)
    short_side_px = min(width, height)
    scale = jpeg_scale(header, short_side_px) if header.format == "JPEG" else 1
    resized = min(header.width * header.height // scale**2, _MAX_RESIZED_PIXELS)
    decoding = decode_cost(header, file_bytes, short_side_px=short_side_px)
    making_s = (width * height * _WEBP_PIXEL_NS + resized * _RESIZED_PIXEL_NS) * 1e-9
    return DecodeCost(decoding.cpu_s + making_s, decoding.memory_bytes + resized * _RESIZED_PIXEL_BYTES)


def make_thumbnail(data: bytes, width_px: int, *, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """A WebP file of the picture, `width_px` wide at most. Raises ImageRejected."""
    from PIL import Image  # only a process that makes them needs it

    from vitrine.images.decode import decode_image

    least_px = min(thumbnail_size(check_image(data, limits=limits).upright_size, width_px))
    image = decode_image(data, target_px=least_px, limits=limits, most_pixels=_MAX_RESIZED_PIXELS)
    size = thumbnail_size(image.size, width_px)
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    with io.BytesIO() as file:
        image.save(file, "WEBP", quality=_QUALITY, method=_METHOD)
        return file.getvalue()
