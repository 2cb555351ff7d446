"""The headers of AVIF and HEIC files, which are boxes of the ISO base media format (ISO/IEC 14496-12 and 23008-12).

The work is bounded as in `vitrine.images.headers`. The coded pictures that make up the primary picture, its tiles and
its transparency, are checked too: a decoder allocates and decodes what they declare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vitrine.images.coded_size import MAX_UNITS, CodedPicture, av1_picture, hevc_picture
from vitrine.images.iso_boxes import Item, inner_boxes, number, read_items
from vitrine.images.picture_header import FileCorrupt, FormatUnknown, PictureHeader

# (quarter turns counter-clockwise, mirror axis) -> EXIF orientation. The turn comes first, then the mirror: axis 0 is
# vertical (top and bottom change places), axis 1 horizontal.
_ORIENTATIONS: Final = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip
# Coded pictures are padded to whole blocks, of 64 pixels at most.
_PADDING_PX: Final = 64
# Phones write tiles of 512 pixels; the outer ones extend beyond the picture, which is not counted.
_TILE_PX: Final = 1024
_MAX_DEPTH: Final = 4
_ALPHA: Final = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"auxid:1")
_CODEC_NAMES: Final = {
    b"av01": "AV1", b"hvc1": "HEVC", b"avc1": "H.264", b"vvc1": "VVC", b"j2k1": "JPEG 2000", b"jpeg": "JPEG",
    b"unci": "uncompressed pixels", b"iovl": "an overlay", b"iden": "a derived picture", b"tmap": "a tone map",
}  # fmt: skip


def read_avif(data: bytes) -> PictureHeader:
    primary, items = read_items(data)
    width, height = _shown_size(data, primary)
    turns, mirror = _turned(data, primary)
    coded = _Coded(data, items, "AVIF", b"av01", b"av1C", av1_picture).pixels(primary)
    spans = _still_spans(data)
    orientation = _ORIENTATIONS[turns, mirror]
    return PictureHeader("AVIF", width, height, _bits(data, primary), False, orientation, spans, 4, coded_pixels=coded)


def read_heif(data: bytes) -> PictureHeader:
    """As the decoder gives the picture: cropped, turned and mirrored."""
    primary, items = read_items(data)
    size = _shown_size(data, primary)
    if _turned(data, primary)[0] % 2:
        size = size[::-1]
    coded = _Coded(data, items, "HEIC", b"hvc1", b"hvcC", hevc_picture).pixels(primary)
    spans = ((0, len(data)),)
    return PictureHeader("HEIF", *size, _bits(data, primary), False, 1, spans, 4, coded_pixels=coded)


def _still_spans(data: bytes) -> tuple[tuple[int, int], ...]:
    """The file, with the brand `avif` instead of `avis`: decoders would take the first frame of the sequence, whose
    header is not read here, and not the still picture.
    """
    if data[8:12] != b"avis":
        return ((0, len(data)),)
    _, start, end = next(inner_boxes(data, 0, len(data)))
    for at in range(start + 8, end - 3, 4):
        if data[at : at + 4] == b"avif":
            return (0, 8), (at, at + 4), (12, len(data))
    raise FormatUnknown("AVIF that is a sequence")


class _Coded:
    """Counts the pixels that a decoder decodes for a picture, and checks that they fit to what the boxes say."""

    def __init__(
        self,
        data: bytes,
        items: dict[int, Item],
        name: str,
        codec: bytes,
        config: bytes,
        read: Callable[[bytes, bytes], CodedPicture],
    ) -> None:
        self._data, self._items = data, items
        self._name, self._codec, self._config, self._read = name, codec, config, read
        self._known: dict[int, int] = {}
        self._units = 0
        self._alphas: dict[int, list[Item]] = {}
        for item in items.values():
            if _is_alpha(data, item):
                for kind, target in item.references:
                    if kind == b"auxl" and target in items:
                        self._alphas.setdefault(id(items[target]), []).append(item)

    def pixels(self, item: Item, depth: int = 0) -> int:
        if depth > _MAX_DEPTH:
            raise FileCorrupt("the AVIF or HEIC picture has parts of parts")
        known = self._known.get(id(item))
        if known is None:
            known = self._coded_pixels(item) if item.kind == self._codec else self._grid_pixels(item, depth)
            known += sum(self.pixels(alpha, depth + 1) for alpha in self._alphas.get(id(item), []))
            self._known[id(item)] = known
        return known

    def _coded_pixels(self, item: Item) -> int:
        width, height = _stored_size(self._data, item)
        start, end = item.properties.get(self._config, (0, 0))
        coded = self._read(self._data[start:end], item.content(self._data))
        self._units += coded.units
        if self._units > MAX_UNITS:
            raise FileCorrupt(f"the {self._name} picture has too many units")
        if coded.width > width + _PADDING_PX or coded.height > height + _PADDING_PX:
            raise FileCorrupt(
                f"the {self._name} file is said to have a picture of {width} x {height} pixels, "
                f"and it has one of {coded.width} x {coded.height}"
            )
        return max(width, coded.width) * max(height, coded.height) * coded.frames

    def _grid_pixels(self, item: Item, depth: int) -> int:
        if item.kind != b"grid":
            kind = _CODEC_NAMES.get(item.kind, "pictures of an unknown kind")
            raise FormatUnknown(f"{self._name} with {kind} inside")
        layout = item.content(self._data)
        side_bytes = 4 if layout[1:2] and layout[1] & 1 else 2
        rows, columns = number(layout, 2, 1, len(layout)) + 1, number(layout, 3, 1, len(layout)) + 1
        size = number(layout, 4, side_bytes, len(layout)), number(layout, 4 + side_bytes, side_bytes, len(layout))
        tiles = [target for kind, target in item.references if kind == b"dimg"]
        if len(tiles) != rows * columns or size != _stored_size(self._data, item):
            raise FileCorrupt(f"the {self._name} picture has other tiles than it says")
        if any(tile not in self._items or self._items[tile].kind != self._codec for tile in tiles):
            raise FileCorrupt(f"the {self._name} picture has tiles that are no pictures")
        pixels = sum(self.pixels(self._items[tile], depth + 1) for tile in tiles)
        return size[0] * size[1] if pixels <= (size[0] + _TILE_PX) * (size[1] + _TILE_PX) else pixels


def _is_alpha(data: bytes, item: Item) -> bool:
    start, end = item.properties.get(b"auxC", (0, 0))
    return data[start + 4 : end].partition(b"\0")[0].endswith(_ALPHA)


def _stored_size(data: bytes, item: Item) -> tuple[int, int]:
    if b"ispe" not in item.properties:
        raise FileCorrupt("the AVIF or HEIC picture has no size")
    start, end = item.properties[b"ispe"]
    return number(data, start + 4, 4, end), number(data, start + 8, 4, end)


def _shown_size(data: bytes, item: Item) -> tuple[int, int]:
    """After cropping."""
    size = _stored_size(data, item)
    if b"clap" not in item.properties:
        return size
    start, end = item.properties[b"clap"]
    values = [number(data, start + 4 * index, 4, end) for index in range(4)]
    if not values[1] or not values[3]:
        raise FileCorrupt("the AVIF or HEIC picture has an impossible crop")
    cropped = round(values[0] / values[1]), round(values[2] / values[3])
    if cropped[0] > size[0] or cropped[1] > size[1]:
        raise FileCorrupt("the AVIF or HEIC picture has an impossible crop")
    return cropped


def _turned(data: bytes, item: Item) -> tuple[int, int | None]:
    """Quarter turns counter-clockwise, and the mirror axis."""
    turns, mirror = 0, None
    if b"irot" in item.properties:
        start, end = item.properties[b"irot"]
        turns = number(data, start, 1, end) & 3
    if b"imir" in item.properties:
        start, end = item.properties[b"imir"]
        mirror = number(data, start, 1, end) & 1
    return turns, mirror


def _bits(data: bytes, item: Item) -> int:
    """Of one sample."""
    if b"pixi" not in item.properties:
        return 8
    start, end = item.properties[b"pixi"]
    return number(data, start + 5, 1, end) if number(data, start + 4, 1, end) else 8
