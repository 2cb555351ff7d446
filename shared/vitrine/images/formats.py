"""The picture formats that are read, and the names of others, recognised by first bytes or by suffix."""

from __future__ import annotations

import re
from typing import Final, Literal

PictureFormat = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF"]

MEDIA_TYPES: Final[dict[PictureFormat, str]] = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
# Most browsers show the others.
NOT_SHOWN_BY_BROWSERS: Final = frozenset({MEDIA_TYPES["HEIF"], MEDIA_TYPES["TIFF"]})
# The suffix that a stored picture gets.
SUFFIXES: Final[dict[PictureFormat, str]] = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "HEIF": ".heic",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tiff",
}
# As people call them: for messages and texts.
FORMAT_NAMES: Final[dict[str, str]] = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "AVIF": "AVIF",
    "HEIF": "HEIC",
    "GIF": "GIF",
    "BMP": "BMP",
    "TIFF": "TIFF",
}
FORMATS_TEXT: Final = "JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF"
# Suffixes of files that are read as pictures, in lower case. Of several files with one stem, the first is preferred.
PICTURE_SUFFIXES: Final = (
    ".jpg", ".jpeg", ".png", ".webp", ".jfif", ".jpe", ".jif", ".pjpeg", ".pjp", ".mpo", ".avif", ".heic", ".heif",
    ".hif", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff",
)  # fmt: skip
# Suffixes of files that may stand in the place of a picture and are not read, with the format's name.
REFUSED_SUFFIXES: Final = {
    ".svg": "SVG", ".svgz": "SVG", ".pdf": "PDF", ".eps": "EPS", ".ps": "PostScript", ".ai": "Adobe Illustrator",
    ".psd": "PSD", ".psb": "PSD", ".xcf": "XCF", ".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jpf": "JPEG 2000",
    ".jpx": "JPEG 2000", ".jxl": "JPEG XL", ".jxr": "JPEG XR", ".ico": "ICO", ".cur": "ICO", ".icns": "ICNS",
    ".tga": "TGA", ".pcx": "PCX", ".exr": "OpenEXR", ".hdr": "Radiance HDR", ".wmf": "WMF", ".emf": "EMF",
    ".pbm": "PNM", ".pgm": "PNM", ".ppm": "PNM", ".dng": "RAW", ".cr2": "RAW", ".cr3": "RAW", ".nef": "RAW",
    ".arw": "RAW", ".orf": "RAW", ".raf": "RAW", ".rw2": "RAW", ".pef": "RAW", ".mp4": "video", ".m4v": "video",
    ".mov": "video", ".webm": "video", ".avi": "video", ".mkv": "video", ".html": "HTML", ".htm": "HTML",
    ".zip": "ZIP", ".glb": "glTF", ".gltf": "glTF",
}  # fmt: skip

# At most this much of a file is looked at.
MAX_SEEN_BYTES: Final = 1024
_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0\x10\0\0\0CR", "RAW"),
    (b"IIRO", "RAW"),
    (b"IIU\0", "RAW"),
    (b"FUJIFILMCCD-RAW", "RAW"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "PSD"),
    (b"gimp xcf", "XCF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\x01\0", "ICO"),
    (b"\0\0\x02\0", "ICO"),
    (b"icns", "ICNS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x0a\x05\x01", "PCX"),
    (b"qoif", "QOI"),
    (b"glTF", "glTF"),
    (b"\x1a\x45\xdf\xa3", "video"),
    (b"FLV\x01", "video"),
    (b"\0\0\x01\xba", "video"),
    (b"\0\0\x01\xb3", "video"),
    (b"OggS", "Ogg"),
    (b"ID3", "MP3"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "XZ"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"SQLite format 3\0", "SQLite"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"\xd0\xcf\x11\xe0", "Microsoft Office"),
    (b"version https://git-lfs", "Git LFS pointer"),
)
_PNM: Final = re.compile(rb"P[1-7][\s#]")
# Brands of the ISO base media format. A HEIF brand names the codec of the picture.
AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_ANY_CODEC_BRANDS: Final = frozenset({b"mif1", b"msf1", b"mif2", b"miaf"})
_TAGS: Final = re.compile(
    rb"<(?:!doctype\s+(?P<type>[a-z]+)|(?P<root>html|head|body|svg|rss|feed|\?xml)\b)", re.IGNORECASE
)
_SVG_ROOT: Final = re.compile(rb"<(?:[a-z]+:)?svg[\s>]", re.IGNORECASE)
_HTML_ROOT: Final = re.compile(rb"<html[\s>]", re.IGNORECASE)
# Control characters that no text has.
_NOT_TEXT: Final = bytes(set(range(32)) - {9, 10, 12, 13, 27})


def format_seen(data: bytes) -> str | None:
    """The format of a file by its first bytes: a `PictureFormat`, the name of another format, or None if it is unknown.

    A name says what the bytes look like, not that the file is whole.
    """
    if not data:
        return "empty"
    start = bytes(data[:MAX_SEEN_BYTES])
    if start[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": "video", b"WAVE": "WAV"}.get(start[8:12])
    if start[4:8] == b"ftyp":
        return _iso_media(start)
    if start[4:8] in {b"moov", b"mdat", b"wide", b"skip", b"free"}:
        return "video"
    for magic, name in _MAGIC:
        if start.startswith(magic):
            # Words may begin like these two.
            return "text" if len(magic) == 2 and magic.isalpha() and _text_kind(start) else name
    if _PNM.match(start) and _text_kind(start[:3]) is not None:
        return "PNM"
    return _text_kind(start)


def _iso_media(start: bytes) -> str:
    """The format of an ISO base media file, by its brands: AVIF, HEIF, or video."""
    end = min(len(start), max(16, int.from_bytes(start[:4], "big")))
    major = start[8:12]
    brands = {major, *(start[at : at + 4] for at in range(16, end - 3, 4))}
    if major in AVIF_BRANDS or (major in _ANY_CODEC_BRANDS and brands & AVIF_BRANDS):
        return "AVIF"
    if major in HEIF_BRANDS or (major in _ANY_CODEC_BRANDS and (brands & HEIF_BRANDS or b"heif" in brands)):
        return "HEIF"
    if major in _ANY_CODEC_BRANDS:
        return "HEIF"  # the library says whether it knows the codec
    if major in {b"jp2 ", b"jpx "}:
        return "JPEG 2000"
    return "RAW" if major == b"crx " else "video"


def _text_kind(start: bytes) -> str | None:
    """SVG, HTML, XML, JSON or text; None if these are not the first bytes of a text."""
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        start = start[2:].replace(b"\0", b"")
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.translate(None, _NOT_TEXT) != start:
        return None
    if start[:1] == b"<":
        if _SVG_ROOT.search(start):
            return "SVG"
        found = _TAGS.search(start)
        if _HTML_ROOT.search(start) or (found and (found["type"] or found["root"]).lower() in _HTML_WORDS):
            return "HTML"
        return "XML"
    try:
        # The last character may be cut off.
        start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:
            return None
    return "JSON" if start[:1] in {b"{", b"["} else "text"


_HTML_WORDS: Final = frozenset({b"html", b"head", b"body"})


def format_name(data: bytes) -> str:
    """The format of a file as people call it, for messages."""
    seen = format_seen(data)
    return FORMAT_NAMES.get(seen or "", seen or "picture")
