"""The image decoder: the pixels of each kind of picture."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.pictures import chunk, colour_at, encoded, gradient, near, png
from vitrine.images.checks import check_image
from vitrine.images.decode import decode_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16)
    data = encoded(Image.fromarray(np.tile(ramp, (64, 1))), "PNG")
    image = decode_image(data)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image)[0], np.repeat(ramp >> 8, 3).reshape(-1, 3))


def test_16_bit_grey_with_a_transparent_shade_is_white_there() -> None:
    samples = np.full((16, 16), 0x1234, dtype=">u2")
    samples[:, 8:] = 0x8000
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    transparent = chunk(b"tRNS", struct.pack(">H", 0x1234))
    image = decode_image(png(16, 16, bits=16, colour=0, rows=rows, extra=transparent))
    assert (colour_at(image, 0, 0), colour_at(image, 15, 0)) == (WHITE, (0x80, 0x80, 0x80))


def test_16_bit_colour_keeps_the_high_byte() -> None:
    row = b"\0" + struct.pack(">HHH", 0xFFFF, 0x7F10, 0x00F0) * 16
    image = decode_image(png(16, 16, bits=16, colour=2, rows=row * 16))
    assert colour_at(image, 3, 3) == (0xFF, 0x7F, 0x00)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_transparent_pixels_become_white_and_show_no_hidden_colour(image_format: str) -> None:
    image = Image.new("RGBA", (16, 16), (*RED, 0))
    image.paste((*BLUE, 255), (8, 0, 16, 16))
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    decoded = decode_image(encoded(image, image_format, **options))
    assert (colour_at(decoded, 0, 0), colour_at(decoded, 12, 12)) == (WHITE, BLUE)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    decoded = decode_image(encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "PNG"))
    assert near(colour_at(decoded, 5, 5), (127, 127, 127), tolerance=1)


def test_grey_with_transparency_is_composited_on_white() -> None:
    image = Image.new("LA", (16, 16), (40, 0))
    image.paste((40, 255), (8, 0, 16, 16))
    decoded = decode_image(encoded(image, "PNG"))
    assert (colour_at(decoded, 0, 0), colour_at(decoded, 12, 0)) == (WHITE, (40, 40, 40))


def test_a_transparent_palette_colour_becomes_white() -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([*RED, *GREEN])
    image.paste(1, (8, 0, 16, 16))
    decoded = decode_image(encoded(image, "PNG", transparency=0))
    assert (colour_at(decoded, 0, 0), colour_at(decoded, 12, 0)) == (WHITE, GREEN)


@pytest.mark.parametrize(("bits", "sample", "grey"), [(1, 0, 0), (2, 1, 85), (4, 3, 51), (8, 7, 7)])
def test_a_transparent_grey_of_any_depth_becomes_white(bits: int, sample: int, grey: int) -> None:
    packed = sum(sample << shift for shift in range(0, 8, bits))
    rows = bytes([0, *([packed] * (16 * bits // 8))]) * 16
    transparent = chunk(b"tRNS", struct.pack(">H", sample))
    assert colour_at(decode_image(png(16, 16, bits=bits, colour=0, rows=rows)), 4, 4) == (grey, grey, grey)
    decoded = decode_image(png(16, 16, bits=bits, colour=0, rows=rows, extra=transparent))
    assert colour_at(decoded, 4, 4) == WHITE


def test_a_transparent_colour_of_16_bits_becomes_white() -> None:
    colour = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)
    rows = (b"\0" + colour * 8 + struct.pack(">HHH", 0, 0xFFFF, 0) * 8) * 16
    decoded = decode_image(png(16, 16, bits=16, colour=2, rows=rows, extra=chunk(b"tRNS", colour)))
    assert (colour_at(decoded, 0, 0), colour_at(decoded, 12, 0)) == (WHITE, GREEN)


def test_a_transparent_colour_without_palette_becomes_white() -> None:
    image = Image.new("RGB", (16, 16), RED)
    image.paste(BLUE, (8, 0, 16, 16))
    decoded = decode_image(encoded(image, "PNG", transparency=RED))
    assert (colour_at(decoded, 0, 0), colour_at(decoded, 12, 0)) == (WHITE, BLUE)


@pytest.mark.parametrize(
    ("ink", "wanted"), [((0, 0, 0, 0), WHITE), ((0, 255, 255, 0), RED), ((0, 0, 0, 255), (0, 0, 0))]
)
def test_cmyk_becomes_rgb(ink: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    data = encoded(Image.new("CMYK", (32, 32), ink), "JPEG", quality=95)
    decoded = decode_image(data)
    assert decoded.mode == "RGB"
    assert near(colour_at(decoded, 9, 9), wanted)


def test_a_jpeg_of_rgb_samples_is_known_by_its_adobe_marker() -> None:
    data = encoded(Image.new("RGB", (32, 32), RED), "JPEG", keep_rgb=True, quality=95)
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
    for named, numbered in ((b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0"), (b"R\0G\0B\0", b"\1\0\2\0\3\0")):
        assert data.count(named) == 1
        data = data.replace(named, numbered)
    if b"Adobe" not in data:
        data = data[:2] + adobe + data[2:]
    assert near(colour_at(decode_image(data), 9, 9), RED)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_becomes_rgb_with_equal_channels(mode: str) -> None:
    decoded = decode_image(encoded(gradient(40, 30).convert(mode), "PNG"))
    pixels = np.asarray(decoded)
    assert decoded.mode == "RGB"
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    np.testing.assert_array_equal(pixels[..., 0], np.asarray(gradient(40, 30).convert(mode).convert("L")))


def corners(image: Image.Image) -> list[str]:
    """The colour names of the four corners, clockwise from the top left."""
    width, height = image.size
    names = {"red": RED, "green": GREEN, "blue": BLUE, "white": WHITE}
    places = [(2, 2), (width - 3, 2), (width - 3, height - 3), (2, height - 3)]
    return [
        next((name for name, colour in names.items() if near(colour_at(image, *place), colour, 60)), "?")
        for place in places
    ]


def four_corners() -> Image.Image:
    image = Image.new("RGB", (64, 32))
    for colour, place in ((RED, (0, 0)), (GREEN, (32, 0)), (BLUE, (32, 16)), (WHITE, (0, 16))):
        image.paste(colour, (*place, place[0] + 32, place[1] + 16))
    return image


UPRIGHT = {
    1: ["red", "green", "blue", "white"],
    2: ["green", "red", "white", "blue"],
    3: ["blue", "white", "red", "green"],
    4: ["white", "blue", "green", "red"],
    5: ["red", "white", "blue", "green"],
    6: ["white", "red", "green", "blue"],
    7: ["blue", "green", "red", "white"],
    8: ["green", "blue", "white", "red"],
}


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_the_picture_is_turned_upright(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encoded(four_corners(), image_format, exif=exif.tobytes()))
    assert decoded.size == ((64, 32) if orientation < 5 else (32, 64))
    assert corners(decoded) == UPRIGHT[orientation]
    assert not decoded.getexif()


def test_a_reduced_picture_is_turned_upright_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(four_corners().resize((1024, 512), Image.Resampling.NEAREST), "JPEG", exif=exif.tobytes())
    decoded = decode_image(data, target_px=128)
    assert decoded.size == (128, 256)
    assert corners(decoded) == UPRIGHT[6]


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0"])
def test_damaged_exif_loses_only_the_orientation(block: bytes) -> None:
    assert decode_image(encoded(four_corners(), "JPEG", exif=block)).size == (64, 32)


def test_an_animated_webp_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert colour_at(decode_image(data), 16, 16) == RED


def test_an_animated_png_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert b"acTL" in data
    assert colour_at(decode_image(data), 16, 16) == RED


def test_a_progressive_jpeg_gives_the_pixels_of_a_baseline_one() -> None:
    image = gradient(200, 150)
    baseline = np.asarray(decode_image(encoded(image, "JPEG", quality=95)), dtype=int)
    progressive = np.asarray(decode_image(encoded(image, "JPEG", quality=95, progressive=True)), dtype=int)
    assert np.abs(baseline - progressive).max() <= 2


@pytest.mark.parametrize(
    ("side", "target_px", "decoded_px"),
    [(1024, None, 1024), (1024, 1025, 1024), (1024, 600, 1024), (1024, 512, 512), (1024, 224, 256), (1024, 100, 128)],
)
def test_a_large_jpeg_is_decoded_at_the_smallest_scale_that_reaches_the_target(
    side: int, target_px: int | None, decoded_px: int
) -> None:
    data = encoded(gradient(side, side * 3 // 2), "JPEG")
    assert decode_image(data, target_px=target_px).size == (decoded_px, decoded_px * 3 // 2)


def test_only_a_jpeg_is_decoded_at_a_reduced_scale() -> None:
    for image_format in ("PNG", "WEBP"):
        assert decode_image(encoded(gradient(512, 512), image_format), target_px=64).size == (512, 512)


def test_a_reduced_scale_is_close_to_the_full_decoding() -> None:
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 255, (40, 30, 3), dtype=np.uint8))
    data = encoded(noise.resize((960, 1280), Image.Resampling.BICUBIC), "JPEG", quality=92)
    reduced = decode_image(data, target_px=224).resize((224, 299), Image.Resampling.BICUBIC)
    full = decode_image(data).resize((224, 299), Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(reduced, dtype=int) - np.asarray(full, dtype=int))
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 10


def test_the_same_file_gives_the_same_pixels_to_every_caller() -> None:
    data = encoded(gradient(900, 700), "JPEG", progressive=True)
    expected = decode_image(data, target_px=224).tobytes()
    buffers: list[Any] = [data, bytearray(data), memoryview(data)]
    for _ in range(3):
        decode_image(encoded(gradient(300, 300), "JPEG"), target_px=100)
        assert [decode_image(buffer, target_px=224).tobytes() for buffer in buffers] == [expected] * 3
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: decode_image(data, target_px=224).tobytes(), range(16))) == {expected}


def test_metadata_changes_no_pixel_and_is_removed() -> None:
    image = gradient(64, 48)
    plain = encoded(image, "JPEG", quality=90)
    adorned = encoded(image, "JPEG", quality=90, comment=b"a comment", icc_profile=b"\0" * 5000, dpi=(300, 300))
    decoded = decode_image(adorned)
    assert decoded.tobytes() == decode_image(plain).tobytes()
    assert decoded.info == {}


def test_the_header_distinguishes_grey_and_coloured_pictures() -> None:
    assert check_image(encoded(gradient(60, 80).convert("L"), "JPEG")).grey
    assert not check_image(encoded(gradient(60, 80), "JPEG")).grey
