"""Write files and folders that appear whole or not at all.

Data is written under a temporary name in the same folder, flushed to the disk and renamed. After a crash or a power cut
the old content is there or the new, never a part. If writing fails, the old content stays and the temporary file is
removed; a killed process leaves it behind (`remove_leftovers`). Every function raises OSError.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_SUFFIX: Final = ".tmp"


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path for code that creates the file itself. The file replaces `path` when the block ends.

    With `durable=False` nothing is flushed to the disk: for caches, which may lose a file in a power cut.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


@contextmanager
def atomic_open(path: Path, *, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a binary file to write, which replaces `path` when the block ends.

    `mode` are the permissions of a new file, before the umask; `durable` as in `atomic_path`.
    """
    with atomic_path(path, durable=durable) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file


def write_bytes(path: Path, data: bytes, *, mode: int = 0o666, durable: bool = True) -> None:
    with atomic_open(path, mode=mode, durable=durable) as file:
        file.write(data)


def write_text(path: Path, text: str, *, mode: int = 0o666, durable: bool = True) -> None:
    """Write UTF-8."""
    write_bytes(path, text.encode(), mode=mode, durable=durable)


def write_json(path: Path, document: object, *, indent: int | None = 2) -> None:
    """Raises ValueError for NaN and infinities, which JSON does not have."""
    write_text(path, json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield an empty temporary folder, which becomes `path` when the block ends. Missing parents are created.

    `durable` as in `atomic_path`. Raises OSError if `path` exists by then and is not an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        if durable:
            for entry in (*temporary.rglob("*"), temporary):
                _sync(entry)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if durable:
        sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` left. Only if no other process can be writing it now."""
    if not path.parent.is_dir():
        return
    for leftover in path.parent.iterdir():
        if not (leftover.name.startswith(f".{path.name}.") and leftover.suffix == _SUFFIX):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk: created, renamed and removed files stay so after a power cut."""
    _sync(folder, os.O_DIRECTORY)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
