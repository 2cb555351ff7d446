"""Parse the headers of JPEG, PNG and WebP files, without decoding pixels and without an image library.

The work is bounded and allocates no more than the file's size, so limits can be checked before Pillow sees the bytes.
Pillow then gets only the parts that make up the picture: no EXIF, ICC, XMP, text or multi-picture block reaches its
metadata parsers. Pillow's own lazy open cannot replace this: it does not notice truncated files or count the scans of a
progressive JPEG, and it decodes a whole PNG to read its orientation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

PictureFormat = Literal["JPEG", "PNG", "WEBP"]

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
_ORIENTATION_TAG: Final = 0x0112
# EXIF orientations in which the stored rows are the columns of the upright picture.
TURNED: Final = frozenset({5, 6, 7, 8})


class FormatUnknown(Exception):
    """The file is not a JPEG, PNG or WebP."""


class FileTruncated(Exception):
    """The file ends too early."""


class FileCorrupt(Exception):
    """The file's structure is invalid. The message says where."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """The header of a picture file.

    `width` and `height` are pixels as stored, before `orientation` (EXIF, 1 to 8; 1 if unknown) is applied. `bits` is
    the depth of one sample, `channels` the number of samples per pixel; `grey` means no colour channels. `scans` is the
    number of scans of a progressive JPEG, 0 for other files; `lossless` is set for WebP only. `spans` are the byte
    ranges of the picture, in order: joined, they are a complete file without metadata.
    """

    format: PictureFormat
    width: int
    height: int
    bits: int
    grey: bool
    orientation: int
    spans: tuple[tuple[int, int], ...]
    channels: int = 3
    scans: int = 0
    lossless: bool = False

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) in pixels, `orientation` applied."""
        return (self.height, self.width) if self.orientation in TURNED else (self.width, self.height)

    def essential(self, data: bytes) -> bytes:
        """The file `data`, from which this header was read, without metadata."""
        if self.spans == ((0, len(data)),):
            return data
        return b"".join(data[start:end] for start, end in self.spans)


def read_header(data: bytes) -> PictureHeader:
    """Read the header of a picture file. Raises FormatUnknown, FileTruncated or FileCorrupt."""
    if data[:3] == b"\xff\xd8\xff":
        return _read_jpeg(data)
    if data[:8] == _PNG_MAGIC:
        return _read_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    raise FormatUnknown


def _read_jpeg(data: bytes) -> PictureHeader:
    frame: tuple[int, int, int, int] | None = None
    progressive = False
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
            # This end marker cannot occur in samples, so a file that is cut off within them does not have it.
            if data.find(b"\xff\xd9", end) < 0:
                raise FileTruncated
            scans = data.count(b"\xff\xda", start)
            if scans > _MAX_JPEG_SCANS:
                raise FileCorrupt(f"the JPEG has more than {_MAX_JPEG_SCANS} scans")
            spans.append((start, len(data)))
            bits, height, width, components = frame
            passes = scans if progressive else 0
            return PictureHeader(
                "JPEG", width, height, bits, components == 1, orientation, _merged(spans), components, passes
            )
        if marker in _JPEG_FRAMES:
            if frame is not None or end - start < 10:
                raise FileCorrupt("the JPEG's frame header is repeated or too short")
            frame = struct.unpack_from(">BHHB", data, start + 4)
            progressive = marker in _JPEG_PROGRESSIVE
        if marker == 0xE1 and orientation == 1 and data[start + 4 : start + 10] == b"Exif\0\0":
            orientation = exif_orientation(data[start + 10 : end])
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_metadata or marker in _JPEG_KEPT_APPS:
            spans.append((start, end))
        position = end
    raise FileCorrupt("the JPEG has too many segments")


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
    return PictureHeader("PNG", width, height, bits, grey, orientation, _merged(spans), channels)


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


def exif_orientation(block: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block that starts at its TIFF header; 1 if it is missing or damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return 1
    (directory,) = struct.unpack_from(f"{order}I", block, 4)
    if directory + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(f"{order}H", block, directory)
    for index in range(count):
        entry = directory + 2 + 12 * index
        if entry + 12 > len(block):
            break
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", block, entry)
        if tag == _ORIENTATION_TAG:
            return value if kind == 3 and values == 1 and 1 <= value <= 8 else 1
    return 1


def _merged(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join adjacent spans, so that a file without metadata is one span and is not copied."""
    merged = [spans[0]]
    for start, end in spans[1:]:
        if start == merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)
