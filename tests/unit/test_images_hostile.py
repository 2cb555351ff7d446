"""Small files that say one size and contain another, or would make a decoder read and allocate again and again."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness import picture_formats
from harness.pictures import encoded, gradient
from harness.waiting import HUNG_AFTER_S
from vitrine.errors import ImageRejected
from vitrine.images.checks import check_image, decode_cost
from vitrine.images.coded_size import av1_picture, hevc_picture
from vitrine.images.decode import decode_image
from vitrine.images.picture_header import FileCorrupt


def heic(width: int, height: int, *, mode: str = "RGB", **options: Any) -> bytes:
    return picture_formats.heic(gradient(width, height).convert(mode), quality=50, **options)


def avif(width: int, height: int, **options: Any) -> bytes:
    return encoded(gradient(width, height), "AVIF", quality=50, speed=10, **options)


def content(data: bytes, kind: bytes) -> int:
    """Where the content of the first box of a kind begins."""
    return data.index(kind) + 4


def put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def said_size(data: bytes, width: int, height: int) -> bytes:
    """All boxes with the size of a picture say this one."""
    for found in re.finditer(b"ispe", data):
        data = put(data, found.end() + 4, struct.pack(">II", width, height))
    return data


def places(data: bytes) -> list[tuple[int, int]]:
    """Where the box `iloc` says where each item begins, and its length; these encoders write four bytes for each."""
    at = content(data, b"iloc")
    count, base_bytes = int.from_bytes(data[at + 6 : at + 8], "big"), data[at + 5] >> 4
    assert data[at] == 0
    assert data[at + 4] == 0x44
    # Item, data reference, base, count of parts, offset and length. The offset is 0 if there is a base.
    entry = 6 + base_bytes + 8
    lengths = [at + 8 + entry * number + entry - 4 for number in range(count)]
    return [(length - 4 - 2 - base_bytes if base_bytes else length - 4, length) for length in lengths]


def every_item_is_the_file(data: bytes) -> bytes:
    for start, length in places(data):
        data = put(put(data, start, bytes(4)), length, struct.pack(">I", len(data)))
    return data


def grid_of(data: bytes, width: int, height: int) -> bytes:
    return put(data, content(data, b"idat") + 4, struct.pack(">HH", width, height))


def two_turns(data: bytes) -> bytes:
    """The second property of the picture is its turn, the last one, again."""
    at = content(data, b"ipma") + 8
    return put(data, at + 4, data[at + 2 + data[at + 2] : at + 3 + data[at + 2]])


TILED = heic(160, 160, tile_size=64)


def tiff(tags: dict[int, tuple[int, int, int]], *, size: int = 100_000) -> bytes:
    """Tags with kind, count and value."""
    known = {256: (4, 1, 64), 257: (4, 1, 64), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1),
             273: (4, 1, 8), 278: (4, 1, 64), 279: (4, 1, 4096)}  # fmt: skip
    entries = sorted((known | tags).items())
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHI", tag, kind, count)
        + (struct.pack("<HH", value, 0) if kind == 3 and count == 1 else struct.pack("<I", value))
        for tag, (kind, count, value) in entries
    )
    return b"II*\0" + struct.pack("<I", size) + bytes(size - 8) + directory + bytes(4)


def many_strips() -> bytes:
    data = tiff({273: (4, 64, 1000), 279: (4, 64, 2000), 278: (4, 1, 1)})
    return put(data, 2000, struct.pack("<64I", *[90_000] * 64))


# In each, the decoder would do more than the picture that the file says it has needs.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "avif coded larger": (lambda: said_size(encoded(Image.new("RGB", (4096, 4096)), "AVIF", speed=10), 64, 64),
                          "is said to have a picture of 64 x 64 pixels, and it has one of 4096 x 4096"),
    "heic coded larger": (lambda: said_size(heic(640, 480), 64, 48),
                          "is said to have a picture of 64 x 48 pixels, and it has one of 640 x 480"),
    "heic tiles coded larger": (lambda: said_size(grid_of(heic(512, 512, tile_size=256), 20, 20), 20, 20), "256 x 256"),
    "heic transparency coded larger": (lambda: said_size(heic(640, 480, mode="RGBA"), 64, 48), "640 x 480"),
    "heic grid larger than said": (lambda: grid_of(TILED, 60_000, 60_000), "other tiles than it says"),
    "heic grid of too few tiles": (lambda: put(TILED, content(TILED, b"idat") + 2, b"\xff\xff"), "other tiles"),
    "heic grid and size": (lambda: said_size(grid_of(TILED, 60_000, 60_000), 60_000, 60_000), "8192 on a side"),
    "heic items that share bytes": (lambda: every_item_is_the_file(heic(64, 64, exif=bytes(40), xmp=b"<x/>")),
                                    "share their bytes"),
    "heic compressed metadata": (
        lambda: heic(64, 64, xmp=b"<x/>").replace(b"application/rdf+xml\0\0", b"application/rdf\0xml\0\0"),
        "compressed metadata"),
    "heic turned twice": (lambda: two_turns(heic(64, 64, exif=picture_formats.exif(6))), "a property twice"),
    "tiff strips that share bytes": (many_strips, "strips that share their bytes"),
    "tiff tags that share bytes": (
        lambda: tiff(dict.fromkeys(range(40000, 40200), (7, 90000, 8))), "tags that share their bytes"),
    "tiff tags of a kind seldom seen": (
        lambda: tiff(dict.fromkeys(range(40000, 40200), (16, 10000, 8))), "tags that share their bytes"),
    "tiff strip beyond the end": (lambda: tiff({279: (4, 1, 1 << 31)}), "ends too early"),
    "tiff tile": (lambda: tiff({322: (3, 1, 60_000), 323: (3, 1, 60_000), 324: (4, 1, 8), 325: (4, 1, 100)}),
                  "tiles of an impossible size"),
    "tiff size": (lambda: tiff({256: (4, 1, 1 << 31), 257: (4, 1, 1 << 31)}), "8192 on a side"),
    "tiff bits": (lambda: tiff({258: (4, 1, 1 << 30)}), "bits"),
    "gif frame larger than its canvas": (
        lambda: (lambda data: put(data, data.index(b",\0\0\0\0") + 5, struct.pack("<HH", 65_000, 65_000)))(
            encoded(gradient(64, 64).convert("P"), "GIF")), "65000 x 65000"),
    "gif frame far away": (
        lambda: (lambda data: put(data, data.index(b",\0\0\0\0") + 1, struct.pack("<HH", 60_000, 0)))(
            encoded(gradient(64, 64).convert("P"), "GIF")), "8192 on a side"),
    "gif canvas": (lambda: put(encoded(gradient(64, 64).convert("P"), "GIF"), 6, struct.pack("<HH", 65_000, 65_000)),
                   "65000 x 65000"),
    "bmp size": (lambda: put(encoded(gradient(64, 64), "BMP"), 18, struct.pack("<ii", 30_000, -30_000)),
                 "ends too early"),
    "bmp in runs": (lambda: put(put(encoded(gradient(64, 64).convert("P"), "BMP"), 18,
                                    struct.pack("<ii", 30_000, 30_000)), 30, b"\1"), "8192 on a side"),
    "jpeg of 1.2 gigapixels": (
        lambda: (lambda data: put(data, data.index(b"\xff\xc0") + 5, struct.pack(">HH", 30_000, 40_000)))(
            encoded(gradient(64, 64), "JPEG")), "a JPEG may have 200 million"),
}  # fmt: skip


def test_what_a_file_hides_is_refused_at_once_and_without_memory(tmp_path: Path) -> None:
    for number, (make, _) in enumerate(HOSTILE.values()):
        (tmp_path / f"{number:02}").write_bytes(make())
    # VmHWM, because a child inherits ru_maxrss from its parent, whose peak may hide any growth.
    program = (
        "import re, sys, time, pathlib\n"
        "from vitrine.errors import ImageRejected\n"
        "from vitrine.images.decode import decode_image\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak_kib = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1])\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    data, before, start = path.read_bytes(), peak_kib(), time.process_time()\n"
        "    try:\n        decode_image(data, target_px=224)\n        detail = 'DECODED'\n"
        "    except ImageRejected as error:\n        detail = error.detail\n"
        "    print(peak_kib() - before, time.process_time() - start, detail, sep='|')\n"
    )
    if sys.platform != "linux":
        pytest.skip("peak memory is read from /proc")
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HUNG_AFTER_S)
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert len(lines) == len(HOSTILE)
    for (name, (_, detail)), (grown_kib, cpu_s, found) in zip(HOSTILE.items(), lines, strict=True):
        assert detail in found, name
        assert int(grown_kib) < 4_000, name
        assert float(cpu_s) < 0.2, name


@pytest.mark.parametrize(
    ("coded", "read", "config", "start"),
    [("AVIF", av1_picture, b"av1C", b"\x12\0"), ("HEIC", hevc_picture, b"hvcC", None)],
)
def test_the_size_is_read_from_the_coded_picture(
    coded: str, read: Callable[..., Any], config: bytes, start: bytes | None
) -> None:
    for size in [(64, 64), (300, 200), (1000, 17), (8, 8)]:
        data = avif(*size) if coded == "AVIF" else heic(*size)
        at = data.index(config)
        settings = data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]
        offset, length = (int.from_bytes(data[place : place + 4], "big") for place in places(data)[0])
        picture = data[offset : offset + length]
        assert start is None or picture.startswith(start)
        found = read(settings, picture)
        assert found.frames == 1
        assert size[0] <= found.width <= size[0] + 64
        assert size[1] <= found.height <= size[1] + 64
        assert read(settings, picture * 3).frames == 3, "each of them costs as much"
        for wrong in (picture * 20, picture[:-1], picture + b"\xff" * 9):
            with pytest.raises(FileCorrupt):
                read(settings, wrong)


def test_a_crop_does_not_hide_what_is_decoded() -> None:
    whole = heic(321, 241)  # of odd size: coded larger, and cropped
    header = check_image(whole)
    assert (header.width, header.height) == (321, 241)
    at = content(whole, b"clap")
    cropped = check_image(put(whole, at, struct.pack(">4I", 16, 1, 16, 1)))
    assert (cropped.width, cropped.height) == (16, 16)
    assert cropped.coded_pixels == header.coded_pixels >= 321 * 241
    assert decode_cost(cropped, len(whole)).memory_bytes == decode_cost(header, len(whole)).memory_bytes


def test_tiles_that_a_phone_writes_cost_what_the_picture_costs() -> None:
    header = check_image(TILED)
    assert header.coded_pixels == 160 * 160, "the outer tiles extend beyond it"


def test_transparency_counts_as_a_second_picture() -> None:
    assert check_image(heic(64, 64, mode="RGBA")).coded_pixels == 2 * check_image(heic(64, 64)).coded_pixels


def test_the_still_picture_of_an_animated_avif_is_decoded() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert data[8:12] == b"avis"
    red, green, blue = decode_image(data).resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]  # RGB
    assert red > 240 > 16 > max(green, blue)
    with pytest.raises(ImageRejected, match="AVIF that is a sequence"):
        decode_image(data.replace(b"avif", b"abcd"))


def test_a_header_of_many_items_is_read_quickly() -> None:
    data = heic(1024, 1024, tile_size=64)
    start = time.process_time()
    assert check_image(data).coded_pixels == 1024 * 1024
    assert time.process_time() - start < 0.5
