"""Parse the headers of picture files, without decoding pixels and without an image library.

The work is bounded and allocates no more than the file's size, so limits can be checked before Pillow sees the bytes.
Pillow then gets only the parts that make up the picture: no EXIF, ICC, XMP, text or multi-picture block reaches its
metadata parsers. Pillow's own lazy open cannot replace this: it does not notice truncated files or count the scans of a
progressive JPEG, and it decodes a whole PNG to read its orientation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from vitrine.images.formats import format_seen
from vitrine.images.iso_media import read_avif, read_heif
from vitrine.images.picture_header import (
    TURNED,
    FileCorrupt,
    FileTruncated,
    FormatUnknown,
    PictureHeader,
    exif_orientation,
    merged,
)
from vitrine.images.raster_headers import read_bmp, read_gif
from vitrine.images.tiff_header import read_tiff

# Segments or chunks of a file. A real picture has a few dozen; more would keep the parser busy.
_MAX_PIECES: Final = 20_000
# Each scan of a progressive JPEG covers the whole picture. Encoders write about ten.
_MAX_JPEG_SCANS: Final = 64

_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# JFIF and Adobe segments define the colour space of the samples.
_JPEG_KEPT_APPS: Final = frozenset({0xE0, 0xEE})

__all__ = ["TURNED", "FileCorrupt", "FileTruncated", "FormatUnknown", "PictureHeader", "read_header"]


def read_header(data: bytes) -> PictureHeader:
    """Read the header of a picture file. Raises FormatUnknown, FileTruncated or FileCorrupt."""
    seen = format_seen(data)
    read = _READERS.get(seen or "")
    if read is None:
        raise FormatUnknown(seen or "a file of unknown format")
    return read(data)


def _read_jpeg(data: bytes) -> PictureHeader:
    frame: tuple[int, int, int, int] | None = None
    progressive = False
    coefficients = 3.0
    orientation = 1
    spans = [(0, 2)]
    position = 2
    for _ in range(_MAX_PIECES):
        # Like decoders, skip stray bytes and fill bytes between segments.
        start = data.find(b"\xff", position)
        if start < 0 or start + 4 > len(data):
            raise FileTruncated
        marker = data[start + 1]
        if marker in {0x00, 0xFF}:
            position = start + 1 if marker == 0xFF else start + 2
            continue
        if marker in _JPEG_BARE:
            position = start + 2
            continue
        if marker == 0xD9:
            raise FileCorrupt("the JPEG ends before its first scan")
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if end > len(data):
            raise FileTruncated
        if end < start + 4:
            raise FileCorrupt("a JPEG segment has an impossible length")
        if marker == 0xDA:
            if frame is None:
                raise FileCorrupt("the JPEG has no frame header")
            scans = data.count(b"\xff\xda", start)
            # This end marker cannot occur in samples, so a file that is cut off within them does not have it. Some
            # programs do not write it; with one scan, the decoder notices whether samples are missing.
            has_end = data.find(b"\xff\xd9", end) >= 0
            if not has_end and (progressive or scans > 1 or end == len(data)):
                raise FileTruncated
            if scans > _MAX_JPEG_SCANS:
                raise FileCorrupt(f"the JPEG has more than {_MAX_JPEG_SCANS} scans")
            spans.append((start, len(data)))
            bits, height, width, components = frame
            passes = scans if progressive else 0
            return PictureHeader(
                "JPEG",
                width,
                height,
                bits,
                components == 1,
                orientation,
                merged(spans),
                components,
                passes,
                coefficients=coefficients,
                has_end=has_end,
            )
        if marker in _JPEG_FRAMES:
            if frame is not None or end - start < 10:
                raise FileCorrupt("the JPEG's frame header is repeated or too short")
            frame = struct.unpack_from(">BHHB", data, start + 4)
            progressive = marker in _JPEG_PROGRESSIVE
            coefficients = _coefficients(data[start + 10 : end], components=frame[3])
        if marker == 0xE1 and orientation == 1 and data[start + 4 : start + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[start + 10 : end])
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_metadata or marker in _JPEG_KEPT_APPS:
            spans.append((start, end))
        position = end
    raise FileCorrupt("the JPEG has too many segments")


def _coefficients(components_of_frame: bytes, *, components: int) -> float:
    """The coefficients per pixel that a decoder keeps, by the sampling factors in a frame header."""
    factors = [(factor >> 4, factor & 15) for factor in components_of_frame[1 : 3 * components : 3]]
    if len(factors) != components or not all(1 <= side <= 4 for factor in factors for side in factor):
        raise FileCorrupt("the JPEG has impossible sampling factors")
    return sum(across * down for across, down in factors) / (
        max(across for across, _ in factors) * max(down for _, down in factors)
    )


def _read_png(data: bytes) -> PictureHeader:
    orientation = 1
    spans = [(0, 8)]
    position = 8
    seen: set[bytes] = set()
    for _ in range(_MAX_PIECES):
        if position + 12 > len(data):
            raise FileTruncated
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise FileTruncated
        if (kind == b"IHDR") == bool(seen):
            raise FileCorrupt("the PNG's header is missing or repeated")
        if kind in _PNG_KEPT:
            spans.append((position, end))
        elif kind[0] & 0x20 == 0:
            raise FileCorrupt("the PNG has an unknown critical chunk")
        elif kind == b"eXIf":
            orientation = exif_orientation(data[position + 8 : end - 4])
        seen.add(kind)
        position = end
        if kind == b"IEND":
            break
    else:
        raise FileCorrupt("the PNG has too many chunks")
    if b"IDAT" not in seen or struct.unpack_from(">I", data, 8)[0] != 13:
        raise FileCorrupt("the PNG has no picture data")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    if bits not in _PNG_DEPTHS.get(colour, ()):
        raise FileCorrupt("the PNG has an impossible depth")
    grey, channels = colour in {0, 4}, _PNG_CHANNELS[colour]
    return PictureHeader("PNG", width, height, bits, grey, orientation, merged(spans), channels)


def _read_webp(data: bytes) -> PictureHeader:
    if len(data) < 30:
        raise FileTruncated
    end_of_file = 8 + int.from_bytes(data[4:8], "little")
    if end_of_file > len(data):
        raise FileTruncated
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L" and data[20] == 0x2F:
        packed = int.from_bytes(data[21:25], "little")
        width, height = (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
    elif kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    else:
        raise FileCorrupt("the WebP does not start with a picture")
    orientation = 1
    position = 12
    for _ in range(_MAX_PIECES):
        if position + 8 > end_of_file:
            # An extended file may be either; count it as lossless, which costs more.
            lossless = kind != b"VP8 "
            return PictureHeader("WEBP", width, height, 8, False, orientation, ((0, end_of_file),), 4, 0, lossless)
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"EXIF" and orientation == 1:
            block = data[position + 8 : position + 8 + length]
            orientation = exif_orientation(block.removeprefix(b"Exif\0\0"))
        position += 8 + length + (length & 1)
    raise FileCorrupt("the WebP has too many chunks")


_READERS: Final[dict[str, Callable[[bytes], PictureHeader]]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WEBP": _read_webp,
    "AVIF": read_avif,
    "HEIF": read_heif,
    "GIF": read_gif,
    "BMP": read_bmp,
    "TIFF": read_tiff,
}
