"""Regions of a picture: their text form and their pixels."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from harness.pictures import encoded, gradient
from vitrine.errors import ImageRejected, ParameterInvalid
from vitrine.images.checks import DEFAULT_LIMITS, check_image, decode_cost, jpeg_scale
from vitrine.images.decode import MAX_DECODED_PIXELS, decode_image
from vitrine.images.regions import MIN_REGION_SHARE, Region, parse_region, region_decode_px, region_text

QUARTER = Region(0.25, 0.5, 0.5, 0.25)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    def span() -> tuple[float, float]:
        start = draw(st.floats(0, 1 - MIN_REGION_SHARE))
        return start, draw(st.floats(min(MIN_REGION_SHARE, 1 - start), 1 - start))

    (x, width), (y, height) = span(), span()
    return Region(x, y, max(width, MIN_REGION_SHARE), max(height, MIN_REGION_SHARE))


@given(regions())
def test_a_region_survives_a_round_trip_through_text(region: Region) -> None:
    found = parse_region(region_text(region))
    for name in ("x", "y", "width", "height"):
        assert getattr(found, name) == pytest.approx(getattr(region, name), abs=1e-6)
    assert parse_region(region_text(found)) == found


@given(regions(), st.integers(1, 3000), st.integers(1, 3000))
def test_a_region_is_within_the_picture(region: Region, width: int, height: int) -> None:
    left, top, right, bottom = region.box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_a_region_that_rounding_moves_out_of_the_picture_is_clamped() -> None:
    assert parse_region("-0.0000001,0,1.0000001,1") == Region(0, 0, 1, 1)
    assert parse_region("0.3333334,0.5,0.6666667,5e-1") == Region(0.3333334, 0.5, 1 - 0.3333334, 0.5)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "four numbers"),
        ("0,0,1", "four numbers"),
        ("0,0,1,1,1", "four numbers"),
        ("0,0,half,1", "width is 'half'"),
        ("0,0,nan,1", "width is 'nan'"),
        ("0,0,1,inf", "height is 'inf'"),
        ("0, 0,1,1", "y is ' 0'"),
        ("0,0,1_0,1", "width is '1_0'"),
        ("0,0,\u0661,1", "width is"),
        ("0,,1,1", "y is ''"),
        ("1,0,0.5,1", "x is 1"),
        ("0,-0.01,1,1", "y is -0.01"),
        ("0,0,0,1", "width is 0"),
        ("0,0,-0.5,1", "width is -0.5"),
        ("0,0,1,0.009", "height is 0.009"),
        ("0.6,0,0.5,1", "x and width are 1.1"),
        ("0,0.6,1,0.5", "y and height are 1.1"),
        ("0,0,1e99,1", "x and width"),
    ],
)
def test_an_invalid_region_is_refused_with_the_reason(text: str, fault: str) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        parse_region(text)
    assert fault in refused.value.detail


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_region_refers_to_the_upright_picture_for_every_exif_orientation(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(120, 70), image_format, exif=exif.tobytes())
    whole = decode_image(data)
    found = decode_image(data, region=QUARTER)
    assert found.tobytes() == whole.crop(QUARTER.box(*whole.size)).tobytes()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16"])
def test_a_region_of_any_format_has_the_pixels_of_the_whole_picture(mode: str) -> None:
    image = gradient(90, 80).convert("L") if mode == "I;16" else gradient(90, 80).convert(mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if mode in {"LA", "RGBA"}:
        image.putalpha(gradient(90, 80).convert("L"))
    data = encoded(image, "PNG")
    whole = decode_image(data)
    assert decode_image(data, region=QUARTER).tobytes() == whole.crop(QUARTER.box(*whole.size)).tobytes()


def test_a_region_of_the_whole_picture_is_the_picture() -> None:
    data = encoded(gradient(1600, 1200), "JPEG")
    everything = Region(0, 0, 1, 1)
    assert decode_image(data, target_px=300, region=everything).tobytes() == decode_image(data, target_px=300).tobytes()


@pytest.mark.parametrize("share", [0.5, 0.25, 0.13])
def test_a_jpeg_keeps_enough_pixels_in_the_region(share: float) -> None:
    data = encoded(gradient(3000, 4000), "JPEG")
    found = decode_image(data, target_px=224, region=Region(0.3, 0.3, share, share))
    assert min(found.size) >= 224, "a whole picture is decoded to 375 x 500, of which too little would be left"
    assert min(found.size) < 3000 * share or share < 0.2, "and no larger than need be"
    assert min(decode_image(data, target_px=224).size) == 375


def test_a_large_region_is_reduced_like_a_picture_of_that_size() -> None:
    picture = gradient(4000, 3000)
    region = Region(0.1, 0.1, 0.8, 0.8)
    found = decode_image(encoded(picture, "PNG"), target_px=224, region=region)
    own = decode_image(encoded(picture.crop(region.box(4000, 3000)), "PNG"), target_px=224)
    assert found.width * found.height <= MAX_DECODED_PIXELS
    assert found.tobytes() == own.tobytes()


def test_a_small_region_of_a_very_large_picture_keeps_every_pixel() -> None:
    picture = ImageOps.mirror(gradient(6000, 5000))
    found = decode_image(encoded(picture, "PNG", compress_level=1), target_px=224, region=Region(0.5, 0.5, 0.1, 0.1))
    assert found.size == (600, 500)


def test_a_region_of_a_few_pixels_is_refused_like_a_picture_of_that_size() -> None:
    data = encoded(gradient(60, 80), "PNG")
    with pytest.raises(ImageRejected, match="the region has 3 x 40 pixels") as refused:
        decode_image(data, region=Region(0, 0, 0.05, 0.5))
    assert refused.value.reason == "too_small"
    with pytest.raises(ImageRejected, match="the region has 1600 x 16") as refused:
        decode_image(encoded(gradient(1600, 1600), "PNG"), region=Region(0, 0, 1, 0.01))
    assert refused.value.reason == "aspect"


def test_the_cost_of_a_small_region_is_that_of_the_larger_scale() -> None:
    data = encoded(gradient(3000, 4000), "JPEG")
    header = check_image(data)
    small_px = region_decode_px(header, len(data), Region(0, 0, 0.1, 0.1), target_px=224, limits=DEFAULT_LIMITS)
    assert jpeg_scale(header, small_px) == 1
    assert decode_cost(header, len(data), short_side_px=small_px).memory_bytes == 3000 * 4000 * 4
    assert decode_cost(header, len(data)).memory_bytes < 3000 * 4000 * 4


def test_a_progressive_jpeg_is_decoded_no_larger_than_the_limits_allow() -> None:
    data = encoded(Image.new("RGB", (6400, 5000)), "JPEG", progressive=True, subsampling=0)
    header = check_image(data)
    wanted_px = region_decode_px(header, len(data), Region(0, 0, 0.1, 0.1), target_px=500, limits=DEFAULT_LIMITS)
    cost = decode_cost(header, len(data), short_side_px=wanted_px)
    assert cost.memory_bytes <= DEFAULT_LIMITS.max_decode_bytes
    assert cost.cpu_s <= DEFAULT_LIMITS.max_decode_s
    assert jpeg_scale(header, wanted_px) == 2


def test_a_region_is_checked_without_an_image_library() -> None:
    script = (
        "import sys\nfrom vitrine.images.regions import parse_region\nparse_region('0,0,1,1')\n"
        "assert not {'PIL', 'numpy', 'torch'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
