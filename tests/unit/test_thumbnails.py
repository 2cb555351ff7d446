"""Thumbnails: size, shape and cost."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from harness.pictures import colour_at, encoded, gradient, near
from vitrine.errors import ImageRejected, ParameterInvalid
from vitrine.images.checks import check_image
from vitrine.images.thumbnails import (
    THUMBNAIL_WIDTHS_PX,
    check_thumbnail_width,
    make_thumbnail,
    thumbnail_cost,
    thumbnail_size,
)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("width_px", THUMBNAIL_WIDTHS_PX)
def test_a_thumbnail_has_the_requested_width_and_keeps_its_aspect_ratio(image_format: str, width_px: int) -> None:
    picture = encoded(gradient(1800, 2400), image_format)
    assert opened(make_thumbnail(picture, width_px)).size == (width_px, round(width_px * 4 / 3))


def test_no_picture_is_enlarged() -> None:
    found = opened(make_thumbnail(encoded(gradient(60, 80), "PNG"), 256))
    assert found.size == (60, 80)


@pytest.mark.parametrize(
    ("picture_size", "width_px", "expected"),
    [
        ((100, 100), 64, (64, 64)),
        ((2000, 1000), 512, (512, 256)),
        ((1000, 8000), 256, (128, 1024)),
        ((8, 160), 64, (8, 160)),
        ((8000, 400), 64, (64, 3)),
        ((64, 64), 64, (64, 64)),
    ],
)
def test_a_very_tall_picture_gets_a_narrower_thumbnail_and_a_wide_one_does_not(
    picture_size: tuple[int, int], width_px: int, expected: tuple[int, int]
) -> None:
    assert thumbnail_size(picture_size, width_px) == expected


def test_the_colours_are_those_of_the_picture() -> None:
    picture = gradient(1200, 1600)
    found = np.asarray(opened(make_thumbnail(encoded(picture, "JPEG", quality=95), 256)).convert("RGB"), dtype=int)
    wanted = np.asarray(picture.resize((256, 341), Image.Resampling.LANCZOS), dtype=int)
    assert np.abs(found - wanted).mean() < 4


def test_a_rotated_picture_is_turned_upright() -> None:
    picture = Image.new("RGB", (200, 100), "blue")
    picture.paste("red", (0, 0, 100, 100))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by 90 degrees to the left
    found = opened(make_thumbnail(encoded(picture, "JPEG", exif=exif.tobytes()), 64)).convert("RGB")
    assert found.size == (64, 128)
    assert near(colour_at(found, 32, 20), (255, 0, 0), 20)
    assert near(colour_at(found, 32, 110), (0, 0, 255), 20)


def test_transparent_pixels_become_white() -> None:
    found = opened(make_thumbnail(encoded(Image.new("RGBA", (90, 90), (0, 0, 0, 0)), "PNG"), 64))
    assert found.mode == "RGB"
    assert near(colour_at(found, 30, 30), (255, 255, 255), 3)


def test_metadata_is_removed_and_the_bytes_are_deterministic() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8))
    bare = encoded(noise, "JPEG")
    adorned = encoded(noise, "JPEG", exif=exif.tobytes(), icc_profile=b"profile" * 9, comment=b"remark")
    found = make_thumbnail(adorned, 128)
    assert found == make_thumbnail(bare, 128) == make_thumbnail(adorned, 128)
    assert not opened(found).getexif()
    assert "icc_profile" not in opened(found).info


@pytest.mark.parametrize("width_px", [0, -64, 63, 65, 300, 2048])
def test_other_widths_are_refused_with_the_allowed_ones(width_px: int) -> None:
    with pytest.raises(ParameterInvalid, match="64, 128, 256, 512 or 1024"):
        check_thumbnail_width(width_px)


def test_a_damaged_picture_is_refused() -> None:
    with pytest.raises(ImageRejected):
        make_thumbnail(encoded(gradient(100, 100), "PNG")[:-60], 64)


def test_a_wider_thumbnail_and_a_larger_picture_cost_more() -> None:
    def cost_s(data: bytes, width_px: int) -> float:
        return thumbnail_cost(check_image(data), len(data), width_px).cpu_s

    small, large = encoded(gradient(600, 800), "PNG"), encoded(gradient(3000, 4000), "PNG", compress_level=1)
    assert cost_s(small, 64) < cost_s(small, 512) < cost_s(large, 512)


def test_the_largest_thumbnail_of_the_tallest_picture_is_bounded() -> None:
    data = encoded(Image.new("RGB", (2048, 8192)), "JPEG")
    cost = thumbnail_cost(check_image(data), len(data), 1024)
    assert cost.cpu_s < 0.8
    assert cost.memory_bytes < 200_000_000


def test_the_widths_are_known_without_an_image_library() -> None:
    script = (
        "import sys\nfrom vitrine.images.thumbnails import check_thumbnail_width\ncheck_thumbnail_width(64)\n"
        "assert not {'PIL', 'numpy', 'torch'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
