"""One picture as a file of every format and variant that is read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from pillow_heif.as_plugin import _save_heif

from harness.pictures import encoded


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    return encoded(image.copy(), image_format, **options)  # saving leaves settings of the encoder in the image


def heic(image: Image.Image, **options: Any) -> bytes:
    """No plugin is registered, as in the services."""
    image = image.copy()
    with io.BytesIO() as file:
        image.encoderinfo = {"quality": 90, **options}
        image.encoderconfig = ()
        _save_heif(image, file, "")
        return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def stored(image: Image.Image, orientation: int) -> Image.Image:
    """The pixels of a file that shows `image` when its orientation is applied."""
    undone = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    return image if orientation == 1 else image.transpose(Image.Transpose(undone[orientation]))


def turned(image: Image.Image, image_format: str, orientation: int) -> bytes:
    """A file that shows `image` when its orientation is applied; HEIC is the format `HEIF`."""
    pixels, block = stored(image, orientation), exif(orientation)
    if image_format == "HEIF":
        return heic(pixels, exif=block)
    return encode(pixels, image_format, exif=block, **({} if image_format == "TIFF" else {"quality": 90}))


def every_format(rgb: Image.Image) -> dict[str, bytes]:
    """Files of a picture on white, by name. Those with several frames have a black one second."""

    def frames() -> dict[str, Any]:
        return {"save_all": True, "append_images": [Image.new("RGB", rgb.size)]}

    rgba = rgb.convert("RGBA")
    white_is_clear = np.asarray(rgba).copy()
    white_is_clear[(white_is_clear[..., :3] == 255).all(axis=2)] = (9, 9, 9, 0)
    clear = Image.fromarray(white_is_clear)
    palette_alpha = clear.quantize(200)
    return {
        "jpeg": encode(rgb, "JPEG", quality=92),
        "progressive jpeg": encode(rgb, "JPEG", quality=92, progressive=True),
        "cmyk jpeg": encode(rgb.convert("CMYK"), "JPEG", quality=92),
        "mpo": encode(rgb, "MPO", quality=92, **frames()),
        "jpeg without end": encode(rgb, "JPEG", quality=92)[:-2],
        "png": encode(rgb, "PNG"),
        "png with alpha": encode(clear, "PNG"),
        "png palette": encode(rgb.quantize(250), "PNG"),
        "png palette with alpha": encode(palette_alpha, "PNG"),
        "animated png": encode(rgb, "PNG", **frames()),
        "webp": encode(rgb, "WEBP", quality=92),
        "webp with alpha": encode(clear, "WEBP", lossless=True),
        "animated webp": encode(rgb, "WEBP", quality=92, **frames()),
        "avif": encode(rgb, "AVIF", quality=90),
        "avif with alpha": encode(clear, "AVIF", quality=95),
        "animated avif": encode(rgb, "AVIF", quality=90, **frames()),
        "heic": heic(rgb),
        "heic with alpha": heic(clear),
        "heic of odd size": heic(rgb.resize((rgb.width - 1, rgb.height - 1))),
        "heic in tiles": heic(rgb, tile_size=64),
        "gif": encode(rgb.quantize(250), "GIF"),
        "animated gif": encode(rgb.quantize(250), "GIF", **frames()),
        "gif with transparency": encode(palette_alpha, "GIF", transparency=palette_alpha.getpixel((0, 0))),
        "interlaced gif": encode(rgb.quantize(250), "GIF", interlace=1),
        "bmp": encode(rgb, "BMP"),
        "bmp with palette": encode(rgb.quantize(250), "BMP"),
        "tiff": encode(rgb, "TIFF"),
        "tiff lzw": encode(rgb, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encode(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": encode(rgb, "TIFF", compression="jpeg"),
        "tiff packbits": encode(rgb, "TIFF", compression="packbits"),
        "tiff cmyk": encode(rgb.convert("CMYK"), "TIFF"),
        "tiff with alpha": encode(clear, "TIFF"),
        "tiff with palette": encode(rgb.quantize(250), "TIFF"),
        "tiff of two pages": encode(rgb, "TIFF", **frames()),
    }
