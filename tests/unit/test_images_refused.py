"""Picture files that the decoder refuses, with the reason, before expensive work."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageFile

from harness.pictures import chunk, encoded, gradient, png
from harness.waiting import HUNG_AFTER_S
from vitrine.errors import ImageRejected
from vitrine.images.checks import REASONS, ImageLimits, inspect_image
from vitrine.images.decode import decode_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def bomb(side: int = 13_000) -> bytes:
    row = b"\0" * (1 + (side + 7) // 8)
    return png(side, side, bits=1, colour=0, rows=row * side)


def resized_header(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def reason_of(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageRejected) as caught:
        decode_image(data, **options)
    assert caught.value.reason in REASONS
    assert caught.value.code == f"image_{caught.value.reason}"
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("image_format", ["ICO", "PPM", "EPS", "TGA"])
def test_formats_that_are_not_allowed_are_refused(image_format: str) -> None:
    assert reason_of(encoded(gradient(32, 32), image_format)) == "format_unsupported"


def test_text_with_a_picture_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shirt.jpg"
    path.write_text("this is no picture\n" * 20)
    assert reason_of(path.read_bytes()) == "format_unsupported"


def test_an_empty_file_is_refused() -> None:
    assert reason_of(b"") == "empty"
    with pytest.raises(ImageRejected, match="empty"):
        inspect_image(b"")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_picture_is_rejected_with_its_reason(image_format: str, share: float) -> None:
    data = encoded(gradient(200, 200), image_format)
    assert reason_of(data[: int(len(data) * share)]) == "truncated"


def test_a_jpeg_without_its_last_bytes_is_truncated_even_if_the_library_accepts_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(gradient(200, 200), "JPEG")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert [reason_of(data[:-cut]) for cut in (3, 4, 5, 500)] == ["truncated"] * 4


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 3}, {"quality": 30}, {"optimize": True}])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_decoded(cut: int, options: dict[str, Any]) -> None:
    for size in ((200, 200), (64, 48), (61, 47)):
        data = encoded(gradient(*size), "JPEG", **options)
        assert decode_image(data[:-cut]).tobytes() == decode_image(data).tobytes()


def test_a_progressive_jpeg_that_lacks_its_end_is_truncated() -> None:
    data = encoded(gradient(200, 200), "JPEG", progressive=True)
    assert [reason_of(data[:-cut]) for cut in (1, 2, 500)] == ["truncated"] * 3


def test_bytes_after_the_end_of_a_picture_are_ignored() -> None:
    for image_format in ("JPEG", "PNG", "WEBP"):
        data = encoded(gradient(50, 40), image_format)
        assert decode_image(data + b"trailing bytes").tobytes() == decode_image(data).tobytes()


def test_a_corrupt_png_is_rejected() -> None:
    data = bytearray(encoded(gradient(64, 64), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 0xFF
    assert reason_of(bytes(data)) == "corrupt"


@pytest.mark.parametrize(
    "damaged",
    [
        lambda data: data.replace(b"IHDR", b"IHDX"),
        lambda data: data.replace(b"IDAT", b"IDAX"),
        lambda data: data[:16] + struct.pack(">II", 0, 64) + data[24:],
        lambda data: data[:24] + b"\x05" + data[25:],
        lambda data: data[:8] + chunk(b"IDAT", b"") + data[8:],
    ],
    ids=["no header", "unknown critical chunk", "no width", "depth of 5 bits", "picture data before the header"],
)
def test_a_png_of_impossible_structure_is_corrupt(damaged: Callable[[bytes], bytes]) -> None:
    assert reason_of(damaged(encoded(gradient(64, 64), "PNG"))) == "corrupt"


def test_a_jpeg_with_too_many_scans_is_corrupt() -> None:
    data = encoded(gradient(64, 64), "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    assert reason_of(data[:scan] + b"\xff\xda\0\x04\0\0" * 100 + data[scan:]) == "corrupt"


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_decoded() -> None:
    data = bomb()
    assert len(data) < 25_000
    assert reason_of(data) == "too_large"
    assert inspect_image(data) == ("PNG", 13_000, 13_000)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_refusing_a_huge_picture_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb())
    # VmHWM, because a child inherits ru_maxrss from its parent, whose peak may hide any growth.
    program = (
        "import re, sys, pathlib\n"
        "from vitrine.errors import ImageRejected\n"
        "from vitrine.images.decode import decode_image\n"
        "data = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak_kib = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1])\n"
        "before = peak_kib()\n"
        "try:\n    decode_image(data)\nexcept ImageRejected as error:\n    print(error.reason, peak_kib() - before)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "bomb.png")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HUNG_AFTER_S).stdout.split()
    assert answer[0] == "too_large"
    assert int(answer[1]) * 1024 < 8_000_000


@pytest.mark.parametrize(("width", "height"), [(65_000, 65_000), (9_000, 100), (60_000, 40_000)])
def test_a_huge_header_is_refused_without_a_warning(width: int, height: int) -> None:
    data = resized_header(encoded(gradient(64, 64), "JPEG"), width, height)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason_of(data) == "too_large"


@pytest.mark.parametrize(
    ("size", "reason"), [((7, 60), "too_small"), ((60, 7), "too_small"), ((8, 168), "aspect"), ((168, 8), "aspect")]
)
def test_a_picture_with_unusable_dimensions_is_refused(size: tuple[int, int], reason: str) -> None:
    assert reason_of(encoded(gradient(*size), "PNG")) == reason


@pytest.mark.parametrize("size", [(8, 8), (8, 160), (60, 80), (8192, 410)])
def test_a_picture_exactly_at_the_limits_is_accepted(size: tuple[int, int]) -> None:
    assert decode_image(encoded(gradient(*size), "PNG")).size == size


def test_the_limits_of_the_caller_are_used() -> None:
    data = encoded(gradient(100, 50), "PNG")
    assert reason_of(data, limits=ImageLimits(max_side_px=99)) == "too_large"
    assert reason_of(data, limits=ImageLimits(max_pixels=4_999)) == "too_large"
    assert reason_of(data, limits=ImageLimits(min_side_px=51)) == "too_small"
    assert reason_of(data, limits=ImageLimits(max_aspect=1.9)) == "aspect"
    assert reason_of(data, limits=ImageLimits(max_bytes=len(data) - 1)) == "bytes_exceeded"
    exact = ImageLimits(max_pixels=5_000, max_side_px=100, min_side_px=50, max_aspect=2.0, max_bytes=len(data))
    assert decode_image(data, limits=exact).size == (100, 50)


def test_too_many_bytes_are_refused_before_anything_is_read() -> None:
    assert reason_of(b"\0" * 20_000_001) == "bytes_exceeded"


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_the_header_is_read_even_beyond_the_limits(image_format: str) -> None:
    data = encoded(gradient(300, 4), image_format)
    assert inspect_image(data) == (image_format, 300, 4)
    assert reason_of(data) == "too_small"
