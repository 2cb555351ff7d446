"""What the header of a picture file says, in any format, and how it can be wrong."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vitrine.images.formats import PictureFormat

_ORIENTATION_TAG: Final = 0x0112
# EXIF orientations in which the stored rows are the columns of the upright picture.
TURNED: Final = frozenset({5, 6, 7, 8})


class FormatUnknown(Exception):
    """The file has a format, or a variant of one, that is not read. The message names it."""


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
    ranges of the picture, in order: joined, they are a complete file without metadata. In TIFF and HEIC files the
    decoder itself applies the orientation, so it is part of `width` and `height` here. `coded_pixels` is what is
    decoded of an AVIF or HEIC file before it is cropped, with tiles, layers and transparency; 0 for other files.
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
    coefficients: float = 3.0  # of a JPEG, per pixel: 1.5 with colours at half the size
    coded_pixels: int = 0
    has_end: bool = True  # False for a JPEG without end marker, which only the decoder can tell from a truncated one

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) in pixels, `orientation` applied."""
        return (self.height, self.width) if self.orientation in TURNED else (self.width, self.height)

    def essential(self, data: bytes) -> bytes:
        """The file `data`, from which this header was read, without metadata."""
        if self.spans == ((0, len(data)),):
            return data
        return b"".join(data[start:end] for start, end in self.spans)


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


def merged(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join adjacent spans, so that a file without metadata is one span and is not copied."""
    merged = [spans[0]]
    for start, end in spans[1:]:
        if start == merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)
