"""The cost of decoding, estimated before it starts, and the decoded size of large pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.pictures import encoded, gradient
from vitrine.errors import ImageRejected
from vitrine.images.checks import check_image, decode_cost
from vitrine.images.decode import MAX_DECODED_PIXELS, decode_image


def plain(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), (200, 30, 40, 128)[: len(mode)])


def repeated_scan(times: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG whose last scan is repeated many times."""
    data = encoded(plain(*size), "JPEG", progressive=True)
    end, start = data.rfind(b"\xff\xd9"), data.rfind(b"\xff\xda")
    table = data.rfind(b"\xff\xc4", 0, start)
    return data[:end] + data[table:end] * times + data[end:]


def test_a_lossless_webp_of_32_megapixels_is_refused_with_advice() -> None:
    data = encoded(plain(6400, 5000), "WEBP", lossless=True, method=0)
    assert len(data) < 2000
    with pytest.raises(ImageRejected) as refused:
        check_image(data)
    assert refused.value.reason == "too_large"
    assert "13 million" in refused.value.detail
    assert "JPEG" in refused.value.detail


@pytest.mark.parametrize(("format_of", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
def test_other_formats_may_have_32_megapixels(format_of: str, options: dict[str, bool]) -> None:
    header = check_image(encoded(plain(6400, 5000), format_of, **options))
    assert (header.width, header.height) == (6400, 5000)


def test_a_phones_webp_is_accepted() -> None:
    check_image(encoded(plain(4000, 3000), "WEBP", lossless=True, method=0))


def test_each_scan_of_a_progressive_jpeg_counts() -> None:
    check_image(repeated_scan(50, (1600, 1200)))
    with pytest.raises(ImageRejected) as refused:
        check_image(repeated_scan(50, (6400, 5000)))
    assert refused.value.reason == "too_large"


def test_the_cost_grows_with_depth_and_scans() -> None:
    def cost_s(data: bytes) -> float:
        return decode_cost(check_image(data), len(data)).cpu_s

    assert cost_s(encoded(plain(1000, 1000, "RGBA"), "PNG")) > cost_s(encoded(plain(1000, 1000), "PNG"))
    assert cost_s(repeated_scan(20, (1000, 1000))) > cost_s(encoded(plain(1000, 1000), "JPEG", progressive=True))


@pytest.mark.parametrize("format_of", ["PNG", "WEBP", "JPEG"])
def test_a_large_picture_of_any_format_is_reduced_to_a_bounded_size(format_of: str) -> None:
    found = decode_image(encoded(gradient(3600, 3000), format_of), target_px=256)
    assert found.width * found.height <= MAX_DECODED_PIXELS
    assert min(found.size) >= 256
    assert found.width / found.height == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "I;16", "LA"])
def test_reducing_in_strips_gives_the_same_pixels_as_reducing_the_whole(mode: str) -> None:
    width, height = 2500, 1801
    down, across = np.mgrid[0:height, 0:width]
    ramp = ((down // 3 + across) % 256).astype(np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(ramp.astype(np.uint16) * 200)
    else:
        colours = np.stack([ramp, ramp[::-1], ramp[:, ::-1], np.full_like(ramp, 100)], axis=2)
        picture = Image.fromarray(colours, "RGBA").convert(mode)
    data = encoded(picture, "PNG", compress_level=1)
    reduced = np.asarray(decode_image(data, target_px=224), dtype=int)
    whole = decode_image(data)
    assert whole.size == (width, height)
    assert abs(reduced - np.asarray(whole.reduce(2), dtype=int)).max() <= 1


def test_a_picture_below_the_bound_decodes_to_the_same_pixels_with_a_target_and_without() -> None:
    data = encoded(gradient(1990, 2000), "PNG")
    assert decode_image(data, target_px=224).tobytes() == decode_image(data).tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("format_of", "options", "size"),
    [
        ("PNG", {}, (6400, 5000)),
        ("WEBP", {"lossless": True, "method": 0}, (3800, 3400)),
        ("JPEG", {"progressive": True, "subsampling": 0}, (6400, 5000)),
    ],
)
def test_no_picture_takes_more_than_300_mb_to_decode(
    tmp_path: Path, format_of: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    mode = "RGB" if format_of == "JPEG" else "RGBA"
    (tmp_path / "picture").write_bytes(encoded(plain(*size, mode), format_of, **options))
    program = (
        "import pathlib, re, sys\n"
        "from vitrine.images.decode import decode_image\n"
        "data = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "def peak():\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        "decode_image(data, target_px=256)\n"
        "print((peak() - before) // 1024)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "picture")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert int(answer) < 300
