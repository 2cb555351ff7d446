"""The record of one uploaded product on disk, and the treatment of damaged records.

A damaged record affects its own product only. Readers skip and report it; a writer keeps it under another name next to
the new record. If its folder has no picture, it was most likely a tombstone and counts as one, so that no deleted
product reappears.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vitrine.errors import ParameterInvalid
from vitrine.images.formats import SUFFIXES
from vitrine.products import AttributeValue, check_attribute_name, check_product_id, stored_name
from vitrine.safe_read import open_regular
from vitrine.telemetry import get_logger

RECORD: Final = "record.json"
_DAMAGED: Final = ".damaged-"  # the prefix of records that were set aside
_MAX_RECORD_BYTES: Final = 16_000_000
_MAX_QUOTED_CHARS: Final = 100
_MAX_DETAIL_CHARS: Final = 200
_PICTURE: Final = re.compile(r"[0-9a-f]{32}\.(jpg|png|webp)")
# The process or the machine lacks a resource: the file itself may be intact.
_NOT_DAMAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR})


class Record(BaseModel):
    """The content of `record.json`. A record without a picture is a tombstone: the product was deleted."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    dataset: str
    product_id: str
    picture: str | None = Field(description="the picture's file name in the product's folder")
    more_pictures: list[str] = Field(default=[], description="further pictures, likewise")
    attributes: dict[str, bool | int | float | str | list[str]]
    variant_of: str | None = Field(default=None, description="the id that it shares with its variants")

    @property
    def files(self) -> list[str]:
        """The names of all pictures."""
        return [*([self.picture] if self.picture is not None else []), *self.more_pictures]

    def to_json(self) -> bytes:
        # Without the later members where they are empty, records stay readable for versions that do not know them.
        empty = {name for name in ("more_pictures", "variant_of") if not getattr(self, name)}
        return self.model_dump_json(indent=1, exclude=empty).encode()


@dataclass(frozen=True, slots=True)
class DamagedUpload:
    """A product whose record cannot be read. `product_id` is None if the folder's name has only a part of it."""

    folder: str
    product_id: str | None
    deleted: bool
    detail: str


class RecordDamaged(Exception):
    """The record exists but cannot be used."""


def folder_name(product_id: str) -> str:
    """A folder name for an id: readable, bounded in length, and unique even if the file system ignores case."""
    digest = hashlib.sha256(product_id.encode()).hexdigest()[:16]
    return f"{quote(product_id, safe='')[:_MAX_QUOTED_CHARS]}~{digest}"


def read_record(folder: Path) -> Record | None:
    """The record in a product's folder, None if there is none. Raises RecordDamaged."""
    path = folder / RECORD
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_RECORD_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in _NOT_DAMAGE:
            raise
        raise RecordDamaged(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_RECORD_BYTES:
        raise RecordDamaged(f"{path} has more than {_MAX_RECORD_BYTES} bytes")
    try:
        record = Record.model_validate_json(data)
        check_product_id(record.product_id)
        for name, value in record.attributes.items():
            check_value(check_attribute_name(stored_name(name)), value)
        if record.variant_of is not None:
            check_product_id(record.variant_of)
    except ValidationError as error:
        raise RecordDamaged(f"{path} is not a valid record of an uploaded product") from error
    except ParameterInvalid as error:
        raise RecordDamaged(f"{path} cannot be used: {error.detail[:_MAX_DETAIL_CHARS]}") from error
    if (record.dataset, folder_name(record.product_id)) != (folder.parent.name, folder.name):
        raise RecordDamaged(f"{path} belongs to another product")
    if not all(map(_PICTURE.fullmatch, record.files)):
        raise RecordDamaged(f"{path} names a picture that cannot be in its folder")
    return record


def describe_damage(folder: Path, damage: RecordDamaged) -> DamagedUpload:
    """The known facts about a product whose record is damaged."""
    try:
        deleted = not any(path.suffix in SUFFIXES.values() for path in folder.iterdir())
    except OSError:
        deleted = False
    product_id: str | None = unquote(folder.name.rpartition("~")[0], errors="replace")
    if product_id is None or folder_name(product_id) != folder.name:
        product_id = None
    then = (
        "the product stays deleted until it is put or restored"
        if deleted
        else "the product is left out, or the catalogue's version is used; put it again"
    )
    return DamagedUpload(folder.name, product_id, deleted, f"{damage}; {then}")


def set_aside_damage(folder: Path) -> None:
    """Keep a damaged record, or a file in place of the folder, under another name. Requires the dataset's lock.

    The damaged record keeps its own name too until a new record replaces it, so a crash here changes nothing.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        _move_aside(folder)
        return
    try:
        read_record(folder)
    except RecordDamaged as damage:
        kept = _aside(folder / RECORD)
        try:
            os.link(folder / RECORD, kept, follow_symlinks=False)
        except OSError:  # a folder, or a file system without hard links
            (folder / RECORD).rename(kept)
        get_logger("uploads").warning("upload_set_aside", kept=str(kept), reason=str(damage))


def make_way(path: Path) -> None:
    """Set aside a folder that is in the place of a file."""
    if path.is_dir() and not path.is_symlink():
        _move_aside(path)


def is_set_aside(path: Path) -> bool:
    return path.name.startswith(_DAMAGED)


def check_value(name: str, value: AttributeValue) -> None:
    """Raises ParameterInvalid if the value cannot be stored."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ParameterInvalid(f"the attribute {name} must be a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ParameterInvalid(f"the attribute {name} must fit into a signed 64-bit integer")
    for text in [value] if isinstance(value, str) else value if isinstance(value, list) else ():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ParameterInvalid(f"the attribute {name} is not valid Unicode text") from error


def _move_aside(path: Path) -> None:
    kept = _aside(path)
    path.rename(kept)
    get_logger("uploads").warning("upload_set_aside", kept=str(kept), reason="not the expected kind of file")


def _aside(path: Path) -> Path:
    return path.with_name(f"{_DAMAGED}{secrets.token_hex(8)}-{path.name}")
