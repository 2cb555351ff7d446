"""The sizes that the coded pictures of AVIF and HEIC files declare: decoders allocate these, whatever the boxes say.

Sources: the AV1 bitstream specification, sections 5.3 to 5.5, and ITU-T H.265, sections 7.3.1 and 7.3.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vitrine.images.picture_header import FileCorrupt

MAX_UNITS: Final = 20_000
# A still picture is one frame; one that is sent in layers has up to four.
_MAX_FRAMES: Final = 4
_AV1_SEQUENCE: Final = 1
_AV1_FRAMES: Final = frozenset({3, 6})
_HEVC_SEQUENCE: Final = 33
_HEVC_SLICES: Final = range(32)
# At most this much of a sequence's header precedes the size.
_SEQUENCE_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """The largest width and height of a coded picture, and how many frames and units it has."""

    width: int
    height: int
    frames: int
    units: int


class _Bits:
    """Reads numbers from the first bit on."""

    def __init__(self, data: bytes) -> None:
        self._left = len(data) * 8
        self._value = int.from_bytes(data, "big")

    def read(self, bits: int) -> int:
        self._left -= bits
        if self._left < 0:
            raise FileCorrupt("the AVIF or HEIC picture has a damaged sequence header")
        return self._value >> self._left & (1 << bits) - 1

    def read_counted(self) -> int:
        """As many bits follow the first one that is set as zeros precede it (Exp-Golomb)."""
        zeros = 0
        while self.read(1) == 0:
            zeros += 1
            if zeros > 32:
                raise FileCorrupt("the AVIF or HEIC picture has a damaged sequence header")
        return (1 << zeros) - 1 + self.read(zeros)


def av1_picture(config: bytes, content: bytes) -> CodedPicture:
    """`config` is the content of the box `av1C`, `content` the item's."""
    sizes: list[tuple[int, int]] = []
    frames = units = 0
    for data in (config[4:], content):
        position = 0
        while position < len(data):
            header = data[position]
            position += 2 if header & 4 else 1
            length = len(data) - position
            if header & 2:
                length, position = _leb128(data, position)
            unit = data[position : position + length]
            units += 1
            if header & 0x80 or len(unit) < length or length < 0 or units > MAX_UNITS:
                raise FileCorrupt("the AVIF picture has damaged units")
            kind = header >> 3 & 15
            if kind == _AV1_SEQUENCE:
                sizes.append(_av1_size(_Bits(unit[:_SEQUENCE_BYTES])))
            frames += kind in _AV1_FRAMES
            position += length
    return _largest(sizes, frames, units)


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    raise FileCorrupt("the AVIF picture has damaged units")


def _av1_size(bits: _Bits) -> tuple[int, int]:
    bits.read(4)
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing_info
        bits.read(64)
        if bits.read(1):
            bits.read_counted()
        if bits.read(1):  # decoder_model_info
            delay_bits = bits.read(5) + 1
            bits.read(42)
    delays_follow = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:  # the level
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if delays_follow and bits.read(1):
            bits.read(4)


def hevc_picture(config: bytes, content: bytes) -> CodedPicture:
    """`config` is the content of the box `hvcC`, `content` the item's."""
    if len(config) < 23:
        raise FileCorrupt("the HEIC picture has no sequence header")
    units: list[bytes] = []
    position = 23
    for _ in range(config[22]):
        count = int.from_bytes(config[position + 1 : position + 3], "big")
        position = _take_units(config, position + 3, 2, units, count)
    _take_units(content, 0, (config[21] & 3) + 1, units)
    sizes: list[tuple[int, int]] = []
    frames = 0
    for unit in units:
        kind, layer = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
        if layer:  # of another view; decoders skip it
            continue
        if kind == _HEVC_SEQUENCE:
            sizes.append(_hevc_size(_Bits(unit[2:_SEQUENCE_BYTES].replace(b"\0\0\3", b"\0\0"))))
        frames += kind in _HEVC_SLICES and unit[2] >= 0x80  # the first slice of a frame
    return _largest(sizes, frames, len(units))


def _take_units(data: bytes, position: int, length_bytes: int, units: list[bytes], count: int | None = None) -> int:
    """Append the units of `data`, each after its length: `count` of them, or all. Returns the position after them."""
    taken = 0
    while position < len(data) if count is None else taken < count:
        length = int.from_bytes(data[position : position + length_bytes], "big")
        position += length_bytes
        unit = data[position : position + length]
        if length < 3 or len(unit) < length or len(units) >= MAX_UNITS:
            raise FileCorrupt("the HEIC picture has damaged units")
        units.append(unit)
        position += length
        taken += 1
    return position


def _hevc_size(bits: _Bits) -> tuple[int, int]:
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 96)  # with the general profile and level
    follow = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for has_profile, has_level in follow:
        bits.read(88 * has_profile + 8 * has_level)
    bits.read_counted()
    if bits.read_counted() == 3:  # chroma_format_idc
        bits.read(1)
    return bits.read_counted(), bits.read_counted()


def _largest(sizes: list[tuple[int, int]], frames: int, units: int) -> CodedPicture:
    if not sizes:
        raise FileCorrupt("the AVIF or HEIC picture has no sequence header")
    if frames > _MAX_FRAMES:
        raise FileCorrupt("the AVIF or HEIC picture has too many frames")
    width, height = max(width for width, _ in sizes), max(height for _, height in sizes)
    return CodedPicture(width, height, max(frames, 1), units)
