"""Decode a picture file safely to an 8-bit RGB picture.

Catalogue and query pictures follow the same rules. Their version is `DECODE_RULES_VERSION`, which manifests record:

- EXIF orientation is applied; only the first frame is used;
- transparency is composited on white; 16-bit samples keep their high byte; CMYK, grey and palette become RGB;
- a JPEG whose short side is at least twice `target_px` is decoded at 1/2, 1/4 or 1/8 scale, never below the target,
  and one that exceeds the limits of pixels at the largest scale that keeps them;
- a region is cropped next, and the remaining rules apply to it;
- with a `target_px`, a picture of more than 4 million pixels is reduced by an integer factor.

Sizes and decode cost are checked on the header first (`vitrine.images.checks`). No global state of Pillow is changed,
no warning is issued and only ImageRejected is raised, so any number of threads can decode. Pillow's global switch
`ImageFile.LOAD_TRUNCATED_IMAGES` must stay off.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from pillow_heif.as_plugin import HeifImageFile

from vitrine.errors import ImageRejected
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits, check_image, jpeg_least_scale, jpeg_scale
from vitrine.images.formats import FORMAT_NAMES, PictureFormat
from vitrine.images.headers import PictureHeader
from vitrine.images.regions import Region, check_region, region_decode_px, stored_box

DECODE_RULES_VERSION: Final = 2
# Rules 2 added the last point: other pictures decode to the same bytes, and large ones to nearly the same vector. So
# releases made with rules 1 are served with rules 2. Formats and sizes that were refused before need no new rules.
SERVED_RULES_VERSIONS: Final = frozenset({1, 2})
MAX_DECODED_PIXELS: Final = 4_000_000
_STRIP_PIXELS: Final = 1_000_000

# The classes are used directly rather than through Image.open: this allows these formats only, needs no plugin to be
# registered, and avoids its size check, which issues a warning, while warning filters are global to the process.
_OPENERS: Final[dict[PictureFormat, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "AVIF": AvifImageFile,
    "HEIF": HeifImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE: Final = (255, 255, 255)
_JPEG_END: Final = b"\xff\xd9"
_FILLERS: Final = (b"\0" * 256, b"\xa5\x3c" * 128)
_MAX_ENDLESS_PIXELS: Final = 12_000_000


def decode_image(
    data: bytes,
    *,
    target_px: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    region: Region | None = None,
    max_pixels: int = MAX_DECODED_PIXELS,
) -> Image.Image:
    """Decode a picture file, or a region of it, to a loaded, upright 8-bit RGB image.

    `target_px` is the short side that the caller resizes to, of the picture or of its region. A much larger JPEG is
    then decoded at a reduced scale, still with at least `target_px`, and every picture is reduced to `max_pixels` or
    less. Without it the image has full size, unless it is a JPEG that exceeds the limits of pixels. Raises only
    ImageRejected, with a reason of `REASONS`.
    """
    header = check_image(data, limits=limits)
    if region is not None:
        check_region(header, region, limits=limits)
        if target_px is not None:
            target_px = region_decode_px(header, len(data), region, target_px=target_px, limits=limits)
    try:
        least_scale = jpeg_least_scale(header, limits)
        return _decode(header, header.essential(data), target_px, region, max_pixels, least_scale)
    except MemoryError as error:
        raise ImageRejected("too_large", "the picture does not fit into memory") from error
    except (Image.DecompressionBombError, OverflowError) as error:
        raise ImageRejected("too_large", "the picture's dimensions are too large") from error
    except OSError as error:
        if "truncated" in str(error).lower():
            raise ImageRejected("truncated", f"the {FORMAT_NAMES[header.format]} file ends too early") from error
        raise _corrupt(header) from error
    except Exception as error:  # parsers of hostile bytes raise anything: SyntaxError, struct.error, zlib.error, ...
        raise _corrupt(header) from error


def _corrupt(header: PictureHeader) -> ImageRejected:
    return ImageRejected("corrupt", f"the {FORMAT_NAMES[header.format]} file is damaged and cannot be decoded")


def _decode(
    header: PictureHeader,
    essential: bytes,
    target_px: int | None,
    region: Region | None,
    max_pixels: int,
    least_scale: int,
) -> Image.Image:
    if header.has_end:
        image = _loaded(header, essential, target_px, least_scale)
    else:
        image = _loaded_without_end(header, essential, target_px, least_scale)
    if region is not None:
        width_px, height_px = image.size
        image = image.crop(stored_box(region, orientation=header.orientation, width_px=width_px, height_px=height_px))
    factor = math.ceil(math.sqrt(image.width * image.height / max_pixels)) if target_px is not None else 1
    image = _to_rgb(image, header) if factor == 1 else _reduced(image, header, factor)
    transpose = _UPRIGHT.get(header.orientation)
    if transpose is not None:
        image = image.transpose(transpose)
    image.info = {}
    return image


def _loaded(header: PictureHeader, essential: bytes, target_px: int | None, least_scale: int) -> Image.Image:
    with io.BytesIO(essential) as file:
        image: Image.Image = _OPENERS[header.format](file)
        if image.size != (header.width, header.height):
            raise ValueError("Pillow and the header disagree about the size")
        scale = least_scale if target_px is None else max(least_scale, jpeg_scale(header, target_px))
        if scale > 1 and isinstance(image, JpegImageFile):
            image.draft(None, (image.width // scale, image.height // scale))
        size = image.size
        image.load()
        if image.size != size:  # parts of a HEIC file may contradict each other
            raise ValueError("the picture has another size than its header")
        return image


def _loaded_without_end(
    header: PictureHeader, essential: bytes, target_px: int | None, least_scale: int
) -> Image.Image:
    """A JPEG that lacks its end marker, or more. Samples are missing if the picture depends on the bytes put after it;
    the library does not say so.
    """
    if header.width * header.height > _MAX_ENDLESS_PIXELS:
        raise OSError("the file may be truncated")
    image, other = (
        _loaded(header, essential.rstrip(b"\xff") + filler + _JPEG_END, target_px, least_scale) for filler in _FILLERS
    )
    if image.tobytes() != other.tobytes():
        raise OSError("the file is truncated")
    return image


def _reduced(image: Image.Image, header: PictureHeader, factor: int) -> Image.Image:
    """The picture as RGB at 1/factor, each pixel the mean of those it covers.

    Works in strips: whole copies in other modes would need several times the picture's memory.
    """
    width, height = image.size
    small = Image.new("RGB", (math.ceil(width / factor), math.ceil(height / factor)))
    rows = max(1, _STRIP_PIXELS // (width * factor)) * factor
    for top in range(0, height, rows):
        strip = _to_rgb(image.crop((0, top, width, min(height, top + rows))), header)
        small.paste(strip.reduce(factor), (0, top // factor))
    return small


def _to_rgb(image: Image.Image, header: PictureHeader) -> Image.Image:
    """Convert any mode of the formats to RGB on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        image = _sixteen_bit_grey(image)
    elif "transparency" in image.info and image.mode in {"L", "RGB"}:
        _scale_transparent_colour(image, header.bits)
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _sixteen_bit_grey(image: Image.Image) -> Image.Image:
    """The high byte of each sample; Pillow's conversion would clip every sample above 255 to white."""
    samples = np.asarray(image).astype(np.uint16, copy=False)
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is None:
        return grey
    opaque = Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, opaque))


def _scale_transparent_colour(image: Image.Image, bits: int) -> None:
    """Convert a PNG's transparent colour from the file's depth to the eight bits of the decoded samples."""

    def scale(sample: int) -> int:
        return min(sample >> 8 if bits == 16 else sample * 255 // ((1 << bits) - 1), 255)

    colour = image.info["transparency"]
    image.info["transparency"] = tuple(map(scale, colour)) if isinstance(colour, tuple) else scale(colour)


def _on_white(image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    ground = Image.new("RGB", image.size, _WHITE)
    ground.paste(image, mask=alpha)
    return ground
