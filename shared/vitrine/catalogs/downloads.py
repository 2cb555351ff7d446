"""The store of downloaded pictures: each link once, each content once.

    links/ab/<sha256 of the link>.json    what a link gave: hash, size, validators, time
    pictures/ab/<sha256>                  the content
    parts/<sha256 of the link>            the beginning of a download that broke off, with its validators beside it

Several processes may use a store at once. Only complete pictures whose header was checked are in it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from vitrine.atomic_write import write_bytes, write_json
from vitrine.errors import ImageRejected, PictureNotFound
from vitrine.safe_read import open_file

_SCHEMES: Final = frozenset({"http", "https"})
_MAX_RECORD_BYTES: Final = 65_536


# Whether a reader keeps a link as a picture, because it is or will be downloaded.
KeepsLink = Callable[[str], bool]


def no_link(_: str) -> bool:
    """Keeps no link."""
    return False


def is_link(picture: str) -> bool:
    """Whether the reference to a picture is an address on the web, with its scheme or without (`//host/path`)."""
    return picture[:8].lower().startswith(("http://", "https://", "//"))


def full_link(link: str) -> str:
    """The link with its scheme, by default https."""
    return f"https:{link}" if link.startswith("//") else link


def link_host(link: str) -> str:
    """The host of a link, in lower case; empty if the link is malformed."""
    try:
        parts = urlsplit(link)
        return (parts.hostname or "").lower() if parts.scheme.lower() in _SCHEMES else ""
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server says about the version of a resource (RFC 9110, section 8.8)."""

    etag: str | None = None
    modified: str | None = None

    @property
    def if_range(self) -> str | None:
        """The validator that may resume a download. A weak tag may not."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.modified


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a link gave."""

    link: str
    sha256: str
    size_bytes: int
    fetched_at_s: float
    validators: Validators


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a download that broke off."""

    data: bytes
    validators: Validators


class Downloads:
    """The downloaded pictures below `folder`, which is created at the first write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, link: str) -> Downloaded | None:
        """What the link gave; None if it was not downloaded, or its record or picture cannot be used."""
        described = self._read_json(self._record(link))
        if described is None or described.get("link") != link:
            return None
        try:
            found = Downloaded(**{**described, "validators": Validators(**described["validators"])})
        except (KeyError, TypeError):
            return None
        return found if self._content(found.sha256).is_file() else None

    def has(self, link: str) -> bool:
        return self.find(link) is not None

    def read(self, link: str, *, max_bytes: int) -> bytes:
        """The picture of a link. Raises PictureNotFound, and ImageRejected("bytes_exceeded")."""
        found = self.find(link)
        if found is None:
            raise PictureNotFound(f"the picture {link[:200]!r} was not downloaded: index with --download")
        try:
            with open_file(self._content(found.sha256)) as file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            raise PictureNotFound(f"the downloaded picture of {link[:200]!r} cannot be read") from error
        if len(data) > max_bytes:
            raise ImageRejected("bytes_exceeded", f"the picture file has more than {max_bytes} bytes")
        return data

    def store(self, link: str, data: bytes, validators: Validators) -> Downloaded:
        """Store a complete picture, and forget the part of it. Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        content = self._content(sha256)
        if not content.is_file():
            content.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(content, data)
        downloaded = Downloaded(link, sha256, len(data), time.time(), validators)
        self.note(downloaded)
        self.drop_part(link)
        return downloaded

    def note(self, downloaded: Downloaded) -> None:
        """Record what a link gave. Raises OSError."""
        record = self._record(downloaded.link)
        record.parent.mkdir(parents=True, exist_ok=True)
        write_json(record, asdict(downloaded), indent=None)

    def part(self, link: str) -> Part | None:
        """The beginning of a download that broke off; None if there is none that can be resumed."""
        described = self._read_json(self._part(link).with_suffix(".json"))
        try:
            validators = Validators(**(described or {}))
            data = self._part(link).read_bytes()
        except (OSError, TypeError):
            return None
        return Part(data, validators) if data and validators.if_range is not None else None

    def store_part(self, link: str, data: bytes, validators: Validators) -> None:
        """Keep the beginning of a download, if the server can resume it. Raises OSError."""
        if not data or validators.if_range is None:
            self.drop_part(link)
            return
        part = self._part(link)
        part.parent.mkdir(parents=True, exist_ok=True)
        # The data first: validators without their data are of no use, and those of before must not meet new data.
        part.with_suffix(".json").unlink(missing_ok=True)
        write_bytes(part, data, durable=False)
        write_json(part.with_suffix(".json"), asdict(validators), indent=None)

    def drop_part(self, link: str) -> None:
        for path in (self._part(link).with_suffix(".json"), self._part(link)):
            path.unlink(missing_ok=True)

    def _record(self, link: str) -> Path:
        name = _name(link)
        return self._folder / "links" / name[:2] / f"{name}.json"

    def _content(self, sha256: str) -> Path:
        if len(sha256) != 64 or not sha256.isalnum():
            return self._folder / "pictures" / "invalid"
        return self._folder / "pictures" / sha256[:2] / sha256

    def _part(self, link: str) -> Path:
        return self._folder / "parts" / _name(link)

    def _read_json(self, path: Path) -> dict[str, Any] | None:
        try:
            with open_file(path) as file:
                document = json.loads(file.read(_MAX_RECORD_BYTES))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None


def _name(link: str) -> str:
    return hashlib.sha256(link.encode("utf-8", "surrogatepass")).hexdigest()
