"""Every picture format is decoded to the same picture, and what is refused is named."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.picture_formats import every_format, stored, turned
from harness.pictures import encoded, gradient
from vitrine.catalogs import read_catalog
from vitrine.errors import ImageRejected
from vitrine.images.checks import check_image
from vitrine.images.decode import decode_image
from vitrine.images.formats import FORMATS_TEXT, MEDIA_TYPES, format_seen
from vitrine.images.headers import TURNED
from vitrine.images.regions import Region
from vitrine.images.thumbnails import make_thumbnail
from vitrine_local.picture_report import inspect_pictures


def drawn(width: int = 120, height: int = 160) -> Image.Image:
    """A shirt on white with a different colour in each corner of it, so that turns and mirrors show."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    body = Image.new("RGB", (2, 2))
    body.putdata([(190, 40, 40), (40, 160, 60), (40, 60, 190), (200, 180, 40)])
    body = body.resize((width * 3 // 4, height * 3 // 4), Image.Resampling.BICUBIC)
    image.paste(body, (width // 8, height // 8))
    return image


BASE = np.asarray(drawn(), dtype=float)


FILES = every_format(drawn())


@pytest.mark.parametrize("name", list(FILES))
def test_every_format_and_variant_decodes_to_the_picture(name: str) -> None:
    image = decode_image(FILES[name])
    assert image.mode == "RGB"
    found = np.asarray(image.resize((120, 160)), dtype=float)
    assert np.abs(found - BASE).mean() < 5, np.abs(found - BASE).mean()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_the_orientation_is_applied_once_in_every_format_that_has_one(image_format: str, orientation: int) -> None:
    data = turned(drawn(), image_format, orientation)
    found = decode_image(data)
    assert found.size == (120, 160) == check_image(data).upright_size
    assert np.abs(np.asarray(found, dtype=float) - BASE).mean() < 8
    corner = decode_image(data, region=Region(0.125, 0.125, 0.25, 0.25))
    wanted = drawn().crop((15, 20, 45, 60))
    assert np.abs(np.asarray(corner, dtype=float) - np.asarray(wanted, dtype=float)).mean() < 12
    assert np.abs(np.asarray(Image.open(io.BytesIO(make_thumbnail(data, 128))), dtype=float) - BASE).mean() < 8
    assert (orientation in TURNED) == (stored(drawn(), orientation).size == (160, 120))


@pytest.mark.parametrize("mode", ["I;16", "L", "LA", "1"])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_grey_pictures_of_any_depth_keep_their_brightness(image_format: str, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 255, 120).astype(np.uint8), (160, 1))
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
    found = np.asarray(decode_image(encoded(image, image_format)), dtype=float)
    blurred = [found[:, at : at + 20].mean() for at in (0, 50, 100)]
    wanted = [ramp[:, at : at + 20].mean() for at in (0, 50, 100)]
    assert np.abs(np.subtract(blurred, wanted)).max() < 12


# Files that were readable before AVIF and others were, with the pixels that the decoder of that time gave: whole,
# reduced, and of a region. Indexed vectors stay comparable only if none of them changes.
OLD_FILES = json.loads((Path(__file__).parent / "pictures_of_old_formats.json").read_text())


@pytest.mark.parametrize("name", list(OLD_FILES))
def test_a_file_of_the_old_formats_decodes_to_the_same_pixels_as_ever(name: str) -> None:
    data, digest = base64.b64decode(OLD_FILES[name]["file"]), hashlib.sha256()
    for options in OLD_OPTIONS:
        image = decode_image(data, **options)
        digest.update(repr(image.size).encode())
        digest.update(image.tobytes())
    assert digest.hexdigest() == OLD_FILES[name]["pixels_sha256"]


OLD_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"target_px": 40},
    {"target_px": 40, "region": Region(0.2, 0.1, 0.6, 0.7)},
    {"target_px": 20, "max_pixels": 1000},
)


def test_a_large_jpeg_is_decoded_at_a_reduced_scale_as_the_library_does() -> None:
    data = encoded(gradient(900, 700), "JPEG", quality=90)
    whole = decode_image(data, target_px=224)
    assert whole.size in {(300, 234), (450, 350)}
    with Image.open(io.BytesIO(data)) as direct:
        direct.draft(None, (900 // 2, 700 // 2) if whole.width == 450 else (300, 234))
        assert whole.tobytes() == direct.convert("RGB").tobytes()


def phone_picture(width: int, height: int, **options: Any) -> bytes:
    return encoded(gradient(512, 384).resize((width, height)), "JPEG", quality=60, **options)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_phone_s_picture_of_48_megapixels_is_decoded_at_half_its_size(options: dict[str, Any]) -> None:
    data = phone_picture(8064, 6048, **options)
    header = check_image(data)
    assert (header.width, header.height) == (8064, 6048)
    whole, small = decode_image(data), decode_image(data, target_px=224)
    assert whole.size == (4032, 3024)
    assert min(small.size) >= 224
    reference = np.asarray(gradient(512, 384).resize((64, 48)), dtype=float)
    for image in (whole, small):
        assert np.abs(np.asarray(image.resize((64, 48)), dtype=float) - reference).mean() < 4
    assert decode_image(data, target_px=224).tobytes() == small.tobytes()
    part = decode_image(data, target_px=224, region=Region(0.4, 0.4, 0.02, 0.02))
    assert min(part.size) >= 8


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_of_48_megapixels_are_refused_with_the_limit(image_format: str) -> None:
    known: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True, "method": 0},
        "TIFF": {"compression": "tiff_deflate"},
    }
    options = known.get(image_format, {})
    mode = "1" if image_format == "BMP" else "L" if image_format in {"GIF", "TIFF"} else "RGB"
    with pytest.raises(ImageRejected, match=r"8192 on a side and 32000000 in all") as refused:
        check_image(encoded(Image.new(mode, (8064, 6048)), image_format, **options))
    assert refused.value.reason == "too_large"


REFUSED = {
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "HTML": b"\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JSON": b'{"error": "not found"}',
    "text": b"This picture is not here.",
    "PSD": b"8BPS\0\x01" + bytes(40),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "JPEG XL": b"\xff\x0a" + bytes(40),
    "ICO": b"\0\0\x01\0\x01\0\x10\x10" + bytes(40),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "RAW": b"II*\0\x10\0\0\0CR\x02\0" + bytes(40),
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40),
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1",
    "BigTIFF": b"II+\0\x08\0\0\0" + bytes(40),
    "gzip": b"\x1f\x8b\x08" + bytes(40),
}


@pytest.mark.parametrize("name", [*REFUSED, "ZIP"])
def test_a_refusal_names_the_format_that_was_seen(name: str) -> None:
    data = REFUSED.get(name, b"")
    if name == "ZIP":
        with io.BytesIO() as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("a.txt", "words")
            data = file.getvalue()
    with pytest.raises(ImageRejected) as refused:
        decode_image(data)
    assert refused.value.reason == "format_unsupported"
    assert refused.value.detail == f"the file is {name}, which is not read; send a {FORMATS_TEXT} picture"


@pytest.mark.parametrize("name", list(FILES))
def test_a_truncated_file_of_every_format_is_rejected_by_its_name(name: str) -> None:
    data = FILES[name]
    for share in (0.05, 0.2, 0.4):
        with pytest.raises(ImageRejected) as refused:
            decode_image(data[: int(len(data) * share)])
        assert refused.value.reason in {"truncated", "corrupt"}
        assert any(
            word in refused.value.detail for word in ("JPEG", "PNG", "WebP", "AVIF", "HEIC", "GIF", "BMP", "TIFF")
        )


def test_every_format_is_recognised_by_its_first_bytes() -> None:
    seen = {format_seen(data) for data in FILES.values()}
    assert seen == set(MEDIA_TYPES)


def test_reading_headers_imports_no_image_library() -> None:
    program = (
        "import sys, vitrine.images.checks, vitrine.images.thumbnails, vitrine.catalogs\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('PIL', 'pillow_heif', '_pillow_heif')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_decoding_registers_no_plugin() -> None:
    program = (
        "import sys\nfrom PIL import Image\nimport vitrine.images.decode\nprint(sorted(Image.ID), len(Image.OPEN))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEIF" not in done.stdout


def test_a_catalogue_in_every_format_lists_each_refusal_with_its_format(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    names = {"jpeg": "a.jpg", "heic": "b.heic", "avif": "c.avif", "gif": "d.gif", "bmp": "e.bmp", "tiff": "f.tif",
             "webp": "named.jpg"}  # fmt: skip
    for kind, name in names.items():
        (tmp_path / "images" / name).write_bytes(FILES[kind])
    (tmp_path / "images" / "drawing.svg").write_bytes(REFUSED["SVG"])
    (tmp_path / "images" / "page.jpg").write_bytes(REFUSED["HTML"])
    rows = [*names.values(), "drawing.svg", "page.jpg", "none.jpg"]
    lines = "".join(f"{Path(name).stem},{name}\n" for name in rows)
    (tmp_path / "products.csv").write_text(f"id,image\n{lines}", encoding="utf-8")
    catalog = read_catalog("folder", tmp_path)
    assert {issue.product_id: issue.kind for issue in catalog.issues} == {
        "drawing": "format_unsupported", "none": "missing_picture",
    }  # fmt: skip
    report = inspect_pictures(catalog)
    assert report.rejected == (("page", "format_unsupported"),)
    assert report.rejected_formats == {"HTML": 1}
    assert report.formats == {"JPEG": 1, "HEIC": 1, "AVIF": 1, "GIF": 1, "BMP": 1, "TIFF": 1, "WebP": 1}
