"""The headers of AVIF and HEIC files, which are boxes of the ISO base media format (ISO/IEC 14496-12 and 23008-12).

The work is bounded as in `vitrine.images.headers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vitrine.images.picture_header import FileCorrupt, FileTruncated, PictureHeader

_MAX_BOXES: Final = 5_000
_MAX_PROPERTIES: Final = 1_000
# (quarter turns counter-clockwise, mirror axis) -> EXIF orientation. The turn comes first, then the mirror: axis 0 is
# vertical (top and bottom change places), axis 1 horizontal.
_ORIENTATIONS: Final = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Still:
    """The primary picture: its size as coded and as cropped, the largest size of any item, turns and mirror axis."""

    width: int
    height: int
    largest: tuple[int, int]
    turns: int
    mirror: int | None
    bits: int


def read_avif(data: bytes) -> PictureHeader:
    still = _read_still(data)
    _check_largest(still)
    orientation = _ORIENTATIONS[still.turns, still.mirror]
    return PictureHeader("AVIF", still.width, still.height, still.bits, False, orientation, ((0, len(data)),), 4)


def read_heif(data: bytes) -> PictureHeader:
    """As the decoder gives the picture: cropped, turned and mirrored."""
    still = _read_still(data)
    _check_largest(still)
    width, height = (still.height, still.width) if still.turns % 2 else (still.width, still.height)
    return PictureHeader("HEIF", width, height, still.bits, False, 1, ((0, len(data)),), 4)


def _check_largest(still: _Still) -> None:
    """A part must not be larger than the picture: a decoder would allocate it whole."""
    width, height = still.largest
    if width * height > 4 * max(still.width, 512) * max(still.height, 512):
        raise FileCorrupt("the AVIF or HEIC file has a part that is larger than its picture")


def _read_still(data: bytes) -> _Still:
    meta = _meta(data)
    primary = 0
    properties: list[tuple[bytes, int, int]] = []
    links: tuple[int, int] | None = None
    for kind, start, end in _boxes(data, *meta):
        if kind == b"pitm":
            wide = data[start] > 0
            primary = _number(data, start + 4, 4 if wide else 2, end)
        elif kind == b"iprp":
            for inner, first, last in _boxes(data, start, end):
                if inner == b"ipco":
                    properties = list(_boxes(data, first, last))
                elif inner == b"ipma" and links is None:
                    links = first, last
    if links is None or not properties or len(properties) > _MAX_PROPERTIES:
        raise FileCorrupt("the AVIF or HEIC picture has no properties")
    return _described(data, properties, _linked(data, *links, item=primary))


def _described(data: bytes, properties: list[tuple[bytes, int, int]], linked: list[int]) -> _Still:
    """The size, turns and mirror of a picture with these properties, numbered from 1."""
    size: tuple[int, int] | None = None
    cropped: tuple[int, int] | None = None
    turns, mirror, bits = 0, None, 8
    for number in linked:
        if not 0 < number <= len(properties):
            continue
        kind, start, end = properties[number - 1]
        if kind == b"ispe":
            size = _number(data, start + 4, 4, end), _number(data, start + 8, 4, end)
        elif kind == b"clap":
            values = [_number(data, start + 4 * index, 4, end) for index in range(4)]
            if not values[1] or not values[3]:
                raise FileCorrupt("the AVIF or HEIC picture has an impossible crop")
            cropped = round(values[0] / values[1]), round(values[2] / values[3])
        elif kind == b"irot":
            turns = _number(data, start, 1, end) & 3
        elif kind == b"imir":
            mirror = _number(data, start, 1, end) & 1
        elif kind == b"pixi" and _number(data, start + 4, 1, end):
            bits = _number(data, start + 5, 1, end)
    if size is None:
        raise FileCorrupt("the AVIF or HEIC picture has no size")
    sizes = [
        (_number(data, start + 4, 4, end), _number(data, start + 8, 4, end))
        for kind, start, end in properties
        if kind == b"ispe"
    ]
    largest = max(sizes, key=lambda one: one[0] * one[1])
    if cropped is not None and (cropped[0] > size[0] or cropped[1] > size[1]):
        raise FileCorrupt("the AVIF or HEIC picture has an impossible crop")
    return _Still(*(cropped or size), largest, turns, mirror, bits)


def _linked(data: bytes, start: int, end: int, *, item: int) -> list[int]:
    """The numbers of the properties of an item, by the box `ipma`."""
    id_bytes = 2 if _number(data, start, 1, end) < 1 else 4
    link_bytes = 2 if _number(data, start + 3, 1, end) & 1 else 1
    count = _number(data, start + 4, 4, end)
    position = start + 8
    for _ in range(min(count, _MAX_BOXES)):
        number = _number(data, position, id_bytes, end)
        links = _number(data, position + id_bytes, 1, end)
        position += id_bytes + 1
        if number == item:
            mask = 0x7FFF if link_bytes == 2 else 0x7F
            return [_number(data, position + link_bytes * at, link_bytes, end) & mask for at in range(links)]
        position += links * link_bytes
    raise FileCorrupt("the AVIF or HEIC file has a picture without properties")


def _meta(data: bytes) -> tuple[int, int]:
    """The content of the box `meta`, after checking that all boxes of the file are complete."""
    found: tuple[int, int] | None = None
    try:
        for kind, start, end in _boxes(data, 0, len(data)):
            if kind == b"meta" and found is None:
                found = start + 4, end
    except _BoxTruncated as error:
        # After a whole picture there may be other bytes, as in the other formats.
        if found is None or error.kind in {b"mdat", b"moov", b"idat"}:
            raise
    if found is None:
        raise FileCorrupt("the AVIF or HEIC file has no still picture")
    return found


class _BoxTruncated(FileTruncated):
    """A box extends beyond the range."""

    def __init__(self, kind: bytes) -> None:
        super().__init__()
        self.kind = kind


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes in a range: type, and start and end of the content. Raises FileTruncated if one extends beyond it."""
    position = start
    for _ in range(_MAX_BOXES):
        if position == end:
            return
        if position + 8 > end:
            raise _BoxTruncated(b"")
        length = int.from_bytes(data[position : position + 4], "big")
        kind = bytes(data[position + 4 : position + 8])
        content = position + 8
        if length == 1:
            length, content = _number(data, content, 8, end), content + 8
        last = end if length == 0 else position + length
        if last > end or last < content:
            raise _BoxTruncated(kind)
        yield kind, content, last
        position = last
    raise FileCorrupt("the AVIF or HEIC file has too many boxes")


def _number(data: bytes, start: int, length: int, end: int) -> int:
    if start + length > end:
        raise FileTruncated
    return int.from_bytes(data[start : start + length], "big")
