"""The header of a TIFF file: its first page. The work is bounded as in `vitrine.images.headers`.

The tags are checked here because decoders allocate strips and tiles as large as a file says.
"""

from __future__ import annotations

import struct
from typing import Final

from vitrine.images.picture_header import TURNED, FileCorrupt, FileTruncated, FormatUnknown, PictureHeader

_MAX_TAGS: Final = 512
_MAX_PIECES: Final = 100_000  # strips or tiles
_MAX_TILE_PX: Final = 2048
_MAX_CHANNELS: Final = 5

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_SAMPLE_FORMAT: Final = 339
_SIZES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
_CODES: Final = {1: "B", 3: "H", 4: "I"}
# None, LZW, JPEG, Deflate (twice) and PackBits.
_READ_COMPRESSIONS: Final = frozenset({1, 5, 7, 8, 32946, 32773})
_COMPRESSION_NAMES: Final = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "old JPEG", 34661: "JBIG", 34712: "JPEG 2000", 34925: "LZMA",
    50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
# Grey (twice), RGB, palette, CMYK and YCbCr.
_READ_COLOURS: Final = frozenset({0, 1, 2, 3, 5, 6})


class _Tags:
    """The tags of the first page that are numbers."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 14:
            raise FileTruncated
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        (directory,) = struct.unpack_from(f"{self._order}I", data, 4)
        if directory + 2 > len(data):
            raise FileTruncated
        (count,) = struct.unpack_from(f"{self._order}H", data, directory)
        if not 0 < count <= _MAX_TAGS:
            raise FileCorrupt("the TIFF has no tags, or too many")
        if directory + 2 + 12 * count > len(data):
            raise FileTruncated
        self._entries: dict[int, tuple[int, int, int]] = {}
        total_bytes = 0
        for at in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{self._order}HHI", data, at)
            length = _SIZES.get(kind, 0) * values
            start = at + 8 if length <= 4 else struct.unpack_from(f"{self._order}I", data, at + 8)[0]
            if start + length > len(data):
                raise FileTruncated
            if tag in self._entries:
                raise FileCorrupt("the TIFF has a tag twice")
            total_bytes += length
            if total_bytes > len(data):  # the decoder copies each
                raise FileCorrupt("the TIFF has tags that share their bytes")
            self._entries[tag] = kind, values, start

    def has(self, tag: int) -> bool:
        return tag in self._entries

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        if tag not in self._entries:
            return default
        kind, values, start = self._entries[tag]
        if kind not in _CODES or not 0 < values <= _MAX_PIECES:
            raise FileCorrupt("the TIFF has a tag of an impossible type")
        return struct.unpack_from(f"{self._order}{values}{_CODES[kind]}", self._data, start)

    def number(self, tag: int, default: int | None = None) -> int:
        found = self.numbers(tag, () if default is None else (default,))
        if not found:
            raise FileCorrupt("the TIFF lacks a tag")
        return found[0]


def read_tiff(data: bytes) -> PictureHeader:
    """The header of a TIFF's first page. Compressions and colours that catalogues do not use are refused."""
    tags = _Tags(data)
    width, height = tags.number(_WIDTH), tags.number(_HEIGHT)
    compression, colours = tags.number(_COMPRESSION, 1), tags.number(_COLOURS, 1)
    if compression not in _READ_COMPRESSIONS:
        raise FormatUnknown(f"TIFF with {_COMPRESSION_NAMES.get(compression, f'compression {compression}')} inside")
    if colours not in _READ_COLOURS:
        raise FormatUnknown(f"TIFF with colours of kind {colours}")
    channels = tags.number(_SAMPLES, 3 if colours in {2, 6} else 1)
    depths = tags.numbers(_BITS, (1,))
    bits = max(depths)
    if bits > 16 or max(tags.numbers(_SAMPLE_FORMAT, (1,))) > 2:
        raise FormatUnknown(f"TIFF with samples of {bits} bits")
    if not 0 < channels <= _MAX_CHANNELS or min(depths) != bits or bits not in {1, 2, 4, 8, 16}:
        raise FormatUnknown(f"TIFF with {channels} channels of {bits} bits")
    _check_pieces(tags, height, data)
    orientation = tags.number(_ORIENTATION, 1)
    if orientation in TURNED:
        width, height = height, width
    return PictureHeader("TIFF", width, height, bits, colours in {0, 1}, 1, ((0, len(data)),), channels)


def _check_pieces(tags: _Tags, height: int, data: bytes) -> None:
    """Check that strips or tiles are inside the file, and not larger than the picture needs."""
    if tags.has(_TILE_OFFSETS):
        sides = tags.number(_TILE_WIDTH), tags.number(_TILE_HEIGHT)
        if not all(0 < side <= _MAX_TILE_PX for side in sides):
            raise FileCorrupt("the TIFF has tiles of an impossible size")
        offsets, lengths = tags.numbers(_TILE_OFFSETS), tags.numbers(_TILE_BYTES)
    else:
        if tags.number(_ROWS_PER_STRIP, height) < 1:
            raise FileCorrupt("the TIFF has strips of an impossible size")
        offsets, lengths = tags.numbers(_STRIP_OFFSETS), tags.numbers(_STRIP_BYTES, (0,))
    if not offsets or (tags.has(_STRIP_BYTES) and len(offsets) != len(lengths)):
        raise FileCorrupt("the TIFF has no strips, or not their lengths")
    if max(map(sum, zip(offsets, lengths, strict=False))) > len(data):
        raise FileTruncated
    if sum(lengths) > 2 * len(data):  # the decoder reads each
        raise FileCorrupt("the TIFF has strips that share their bytes")
