"""The headers of GIF and BMP files. The work is bounded as in `vitrine.images.headers`."""

from __future__ import annotations

import struct
from typing import Final

from vitrine.images.picture_header import FileCorrupt, FileTruncated, FormatUnknown, PictureHeader, merged

# Blocks of a GIF before its first picture, and sub-blocks of 255 bytes in that picture.
_MAX_GIF_BLOCKS: Final = 20_000
_MAX_GIF_SUB_BLOCKS: Final = 100_000
_GIF_TRAILER: Final = 0x3B
_GIF_EXTENSION: Final = 0x21
_GIF_PICTURE: Final = 0x2C
_GIF_GRAPHIC_CONTROL: Final = 0xF9
_BMP_DEPTHS: Final = {1: 1, 4: 1, 8: 1, 16: 3, 24: 3, 32: 4}  # bits per pixel -> channels
_BMP_PLAIN: Final = frozenset({0, 3, 6})  # without compression; the masks of the colours follow with 3 and 6
_BMP_RUN_LENGTH: Final = frozenset({1, 2})
_BMP_EMBEDDED: Final = {4: "BMP with JPEG inside", 5: "BMP with PNG inside"}


def read_gif(data: bytes) -> PictureHeader:
    """The header of a GIF and of its first frame; other frames are not looked at."""
    if len(data) < 13:
        raise FileTruncated
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    spans = [(0, position)]
    for _ in range(_MAX_GIF_BLOCKS):
        if position + 2 > len(data):
            raise FileTruncated
        kind, label = data[position], data[position + 1]
        if kind == _GIF_EXTENSION:
            end = _after_sub_blocks(data, position + 2)
            if label == _GIF_GRAPHIC_CONTROL:
                spans.append((position, end))
            position = end
        elif kind == _GIF_PICTURE:
            if position + 11 > len(data):
                raise FileTruncated
            left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, position + 1)
            samples = position + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
            spans.append((position, _after_sub_blocks(data, samples)))
            # A frame that is larger than the canvas enlarges it.
            size = max(width, left + frame_width), max(height, top + frame_height)
            return PictureHeader("GIF", *size, 8, False, 1, merged(spans), 1)
        elif kind == _GIF_TRAILER:
            raise FileCorrupt("the GIF has no picture")
        else:
            raise FileCorrupt("the GIF has an unknown block")
    raise FileCorrupt("the GIF has too many blocks")


def _after_sub_blocks(data: bytes, position: int) -> int:
    for _ in range(_MAX_GIF_SUB_BLOCKS):
        if position >= len(data):
            raise FileTruncated
        length = data[position]
        position += 1 + length
        if length == 0:
            return position
    raise FileCorrupt("the GIF has too many blocks")


def read_bmp(data: bytes) -> PictureHeader:
    if len(data) < 26:
        raise FileTruncated
    samples, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:
        width, height, planes, depth = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    elif 40 <= header_bytes <= 124:
        if len(data) < 34:
            raise FileTruncated
        width, signed_height, planes, depth, compression = struct.unpack_from("<iiHHI", data, 18)
        height = abs(signed_height)  # negative if the first row is the uppermost
    else:
        raise FileCorrupt("the BMP has an unknown header")
    if compression in _BMP_EMBEDDED:
        raise FormatUnknown(_BMP_EMBEDDED[compression])
    if planes != 1 or depth not in _BMP_DEPTHS or compression not in _BMP_PLAIN | _BMP_RUN_LENGTH or width < 0:
        raise FileCorrupt("the BMP has an impossible header")
    row_bytes = (width * depth + 31) // 32 * 4
    needed = samples + row_bytes * height if compression in _BMP_PLAIN else samples + 2
    if needed > len(data):
        raise FileTruncated
    return PictureHeader("BMP", width, height, 8, False, 1, ((0, len(data)),), _BMP_DEPTHS[depth])
