"""Files that are whole or absent: atomic writes, folders made durable, and the lock that keeps a second server away."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from vitrine_local.errors import DataFolderInUse


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`. After a crash the old content is there or the new, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_twice(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, and then its copy, from which it is made again if it is damaged."""
    write_atomically(path, data)
    write_atomically(copy_of(path), data)


def copy_of(path: Path) -> Path:
    """The copy of a file that is kept twice."""
    return path.with_suffix(f".copy{path.suffix}")


def unlink_durably(path: Path) -> None:
    """Remove a file so that it stays removed."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def storage_lock(storage: Path) -> Iterator[None]:
    """Hold the storage folder for this process. Raises DataFolderInUse where another server has it."""
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "lock").open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUse(f"another local Qdrant runs on {storage}; stop it, or use another folder") from None
        yield
