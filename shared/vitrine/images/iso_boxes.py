"""The boxes of an ISO base media file (ISO/IEC 14496-12), and the items that its box `meta` describes.

Everything that decoders read twice, or in an order of their own, is refused: two boxes of one kind, two descriptions of
one item. So what is checked here is what they decode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from vitrine.images.picture_header import FileCorrupt, FileTruncated, FormatUnknown

_MAX_BOXES: Final = 5_000
_MAX_PROPERTIES: Final = 1_000
# References between items, or parts of their data. A picture in tiles has one of each for each tile.
_MAX_LINKS: Final = 20_000
# Properties that decoders apply one after the other.
_APPLIED_ONCE: Final = frozenset({b"ispe", b"clap", b"irot", b"imir", b"hvcC", b"av1C", b"auxC"})

Box: TypeAlias = tuple[bytes, int, int]  # kind, start and end of the content


@dataclass(slots=True)
class Item:
    """A picture, a tile or metadata: its kind, where its bytes are, its properties, and the items it refers to."""

    kind: bytes = b""
    parts: list[tuple[int, int]] = field(default_factory=list)
    properties: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    references: list[tuple[bytes, int]] = field(default_factory=list)

    def content(self, data: bytes) -> bytes:
        return b"".join(data[start:end] for start, end in self.parts)


def read_items(data: bytes) -> tuple[Item, dict[int, Item]]:
    """The primary item, and all items by number."""
    boxes: dict[bytes, tuple[int, int]] = {}
    for kind, start, end in inner_boxes(data, *_meta(data)):
        if boxes.setdefault(kind, (start, end)) != (start, end) and kind in _READ_ONCE:
            raise FileCorrupt("the AVIF or HEIC file has a box twice")
    if missing := [kind for kind in (b"pitm", b"iinf", b"iloc", b"iprp") if kind not in boxes]:
        raise FileCorrupt(f"the AVIF or HEIC file lacks the box {missing[0].decode()}")
    items: dict[int, Item] = {}
    _read_kinds(data, *boxes[b"iinf"], items)
    _read_places(data, *boxes[b"iloc"], items, boxes.get(b"idat", (0, 0)))
    _read_properties(data, *boxes[b"iprp"], items)
    if b"iref" in boxes:
        _read_references(data, *boxes[b"iref"], items)
    start, end = boxes[b"pitm"]
    primary = number(data, start + 4, 4 if data[start] else 2, end)
    if primary not in items:
        raise FileCorrupt("the AVIF or HEIC file has no primary picture")
    return items[primary], items


_READ_ONCE: Final = frozenset({b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat"})


def _read_kinds(data: bytes, start: int, end: int, items: dict[int, Item]) -> None:
    first = start + 6 if number(data, start, 1, end) == 0 else start + 8
    for kind, at, last in inner_boxes(data, first, end):
        version = number(data, at, 1, last)
        if kind != b"infe" or version < 2:
            continue
        id_bytes = 2 if version == 2 else 4
        item = number(data, at + 4, id_bytes, last)
        words = at + 4 + id_bytes + 2
        if item in items:
            raise FileCorrupt("the AVIF or HEIC file has an item twice")
        items[item] = Item(kind=data[words : words + 4])
        if items[item].kind == b"mime" and any(data[words + 4 : last].split(b"\0")[2:3]):
            # The decoder would unpack it, however large it becomes.
            raise FormatUnknown("AVIF or HEIC with compressed metadata")


def _read_places(data: bytes, start: int, end: int, items: dict[int, Item], stored_in_meta: tuple[int, int]) -> None:
    version, sizes = number(data, start, 1, end), number(data, start + 4, 2, end)
    offset_bytes, length_bytes, base_bytes = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_bytes = sizes & 15 if version else 0
    id_bytes = 4 if version == 2 else 2
    count, at = number(data, start + 6, id_bytes, end), start + 6 + id_bytes
    total_bytes = links = 0
    seen: set[int] = set()
    for _ in range(count):
        item, at = number(data, at, id_bytes, end), at + id_bytes
        method = number(data, at, 2, end) & 15 if version else 0
        at += 4 if version else 2  # with the number of the data reference
        base, at = number(data, at, base_bytes, end), at + base_bytes
        parts, at = number(data, at, 2, end), at + 2
        links += parts + 1
        if links > _MAX_LINKS or item in seen or method > 1:
            raise FileCorrupt("the AVIF or HEIC file has an item in impossible places")
        seen.add(item)
        within = (0, len(data)) if method == 0 else stored_in_meta
        for _ in range(parts):
            at += index_bytes
            first = within[0] + base + number(data, at, offset_bytes, end)
            length = number(data, at + offset_bytes, length_bytes, end)
            at += offset_bytes + length_bytes
            # Without a length, all that follows.
            last = first + length if length else within[1]
            if not within[0] <= first <= last <= within[1]:
                raise FileTruncated
            total_bytes += last - first
            if item in items:
                items[item].parts.append((first, last))
    if total_bytes > 2 * len(data):
        raise FileCorrupt("the AVIF or HEIC file has items that share their bytes")


def _read_properties(data: bytes, start: int, end: int, items: dict[int, Item]) -> None:
    inner = list(inner_boxes(data, start, end))
    containers = [box for box in inner if box[0] == b"ipco"]
    if len(containers) != 1:
        raise FileCorrupt("the AVIF or HEIC picture has no properties")
    properties = list(inner_boxes(data, *containers[0][1:]))
    if len(properties) > _MAX_PROPERTIES:
        raise FileCorrupt("the AVIF or HEIC file has too many properties")
    seen: set[int] = set()
    links = 0
    for kind, first, last in inner:
        if kind != b"ipma":
            continue
        id_bytes = 2 if number(data, first, 1, last) < 1 else 4
        wide = number(data, first + 3, 1, last) & 1
        at = first + 8
        for _ in range(number(data, first + 4, 4, last)):
            item, count = number(data, at, id_bytes, last), number(data, at + id_bytes, 1, last)
            at += id_bytes + 1
            links += count + 1
            if item in seen or links > 4 * _MAX_LINKS:
                raise FileCorrupt("the AVIF or HEIC file describes an item twice")
            seen.add(item)
            for _ in range(count):
                index = number(data, at, 1 + wide, last) & (0x7FFF if wide else 0x7F)
                at += 1 + wide
                if item in items and 0 < index <= len(properties):
                    _add_property(items[item], properties[index - 1])


def _add_property(item: Item, box: Box) -> None:
    kind, start, end = box
    if kind in item.properties and kind in _APPLIED_ONCE:
        raise FileCorrupt("the AVIF or HEIC picture has a property twice")
    item.properties[kind] = start, end


def _read_references(data: bytes, start: int, end: int, items: dict[int, Item]) -> None:
    id_bytes = 2 if number(data, start, 1, end) == 0 else 4
    links = 0
    for kind, first, last in inner_boxes(data, start + 4, end):
        item, count = number(data, first, id_bytes, last), number(data, first + id_bytes, 2, last)
        links += count
        if links > _MAX_LINKS:
            raise FileCorrupt("the AVIF or HEIC file has too many references")
        for position in range(count):
            target = number(data, first + id_bytes + 2 + id_bytes * position, id_bytes, last)
            if item in items:
                items[item].references.append((kind, target))


def _meta(data: bytes) -> tuple[int, int]:
    """The content of the box `meta`, after checking that all boxes of the file are complete."""
    found: tuple[int, int] | None = None
    try:
        for kind, start, end in inner_boxes(data, 0, len(data)):
            if kind == b"meta":
                if found is not None:
                    raise FileCorrupt("the AVIF or HEIC file has a box twice")
                found = start + 4, end
    except _BoxTruncated as error:
        # After a whole picture there may be other bytes, as in the other formats.
        if found is None or error.kind in {b"mdat", b"moov", b"idat", b"meta"}:
            raise
    if found is None:
        raise FileCorrupt("the AVIF or HEIC file has no still picture")
    return found


class _BoxTruncated(FileTruncated):
    """A box extends beyond the range."""

    def __init__(self, kind: bytes) -> None:
        super().__init__()
        self.kind = kind


def inner_boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes in a range. Raises FileTruncated if one extends beyond it."""
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
            length, content = number(data, content, 8, end), content + 8
        last = end if length == 0 else position + length
        if last > end or last < content:
            raise _BoxTruncated(kind)
        yield kind, content, last
        position = last
    raise FileCorrupt("the AVIF or HEIC file has too many boxes")


def number(data: bytes, start: int, length: int, end: int) -> int:
    if start + length > end:
        raise FileTruncated
    return int.from_bytes(data[start : start + length], "big")
