"""The disk of the storage folder: the lock, files with a copy, and free space.

The engine writes through memory-mapped files that are longer than their content. If the disk has no space for a page of
one, the kernel kills the process. So every write first checks the free space. A start writes too: the engine applies
its log again and touches every page of the vectors. For this there is a ballast, a file that is deleted when a start
finds the disk full. The log that a start applies again is kept much shorter than the ballast.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vitrine.atomic_write import sync_folder, write_bytes
from vitrine.disk_space import MIB, free_bytes
from vitrine_local.errors import DataFolderInUse
from vitrine_local.qdrant.errors import DiskFull

# The first vector file and some space for everything else.
NEW_COLLECTION_BYTES: Final = 40 * MIB
_BALLAST_FILE: Final = "ballast"
_MAX_BALLAST_BYTES: Final = 32 * MIB
_BALLAST_SHARE: Final = 4  # of the reserve
_UNFLUSHED_SHARE: Final = 4  # of the ballast


@contextlib.contextmanager
def storage_lock(storage: Path) -> Iterator[None]:
    """Lock the storage folder for this process. Raises DataFolderInUse if another process holds the lock."""
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "lock").open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUse(f"another local Qdrant runs on {storage}; stop it, or use another folder") from None
        yield


def write_with_copy(path: Path, data: bytes) -> None:
    """Replace `path` atomically, and then its copy, which is used if the file is damaged."""
    write_bytes(path, data)
    write_bytes(copy_of(path), data)


def copy_of(path: Path) -> Path:
    """The path of the copy."""
    return path.with_suffix(f".copy{path.suffix}")


def unlink_durably(path: Path) -> None:
    """Remove a file, also if the power fails right after."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


class Space:
    """The free space of a folder's disk. `reserve_bytes` of it stay free; the ballast is part of the reserve."""

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder = folder
        self._ballast = folder / _BALLAST_FILE
        self._reserve_bytes = reserve_bytes
        self._ballast_bytes = min(_MAX_BALLAST_BYTES, reserve_bytes // _BALLAST_SHARE)
        self._unflushed_bytes = 0

    def has(self, needed_bytes: int = 0) -> bool:
        """Whether that many bytes can be written."""
        return free_bytes(self._folder) >= needed_bytes + self._reserve_bytes - self._ballast_file_bytes()

    def require(self, needed_bytes: int = 0) -> None:
        """Raises DiskFull if that many bytes cannot be written."""
        if not self.has(needed_bytes):
            raise DiskFull(
                f"No space left on device: {self._folder} has {free_bytes(self._folder) // MIB} MiB left, of which "
                f"{self._reserve_bytes // MIB} MiB stay free (VITRINE_DISK_RESERVE_MB); make room, or move it "
                "(`vitrine up --data`, --storage of the local Qdrant) to another disk"
            )

    def wrote(self, written_bytes: int) -> None:
        """Count bytes that the engine must apply again after a crash."""
        self._unflushed_bytes += written_bytes

    @property
    def flush_is_due(self) -> bool:
        """Whether applying the unflushed writes again could need more space than the ballast frees."""
        return self._unflushed_bytes > self._ballast_bytes // _UNFLUSHED_SHARE

    def flushed(self) -> None:
        self._unflushed_bytes = 0

    def create_ballast(self) -> None:
        """Create the ballast file if there is space for it."""
        if self._ballast_file_bytes() == self._ballast_bytes or free_bytes(self._folder) < 2 * self._ballast_bytes:
            return
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)
            else:
                file.write(bytes(self._ballast_bytes))

    def release_ballast(self) -> None:
        """Delete the ballast file if a start could need its space."""
        if free_bytes(self._folder) < self._ballast_bytes:
            self._ballast.unlink(missing_ok=True)

    def _ballast_file_bytes(self) -> int:
        try:
            return self._ballast.stat().st_size
        except FileNotFoundError:
            return 0


def allocate(shard: Path) -> None:
    """Allocate the full length of a shard's vector files on disk: the engine touches every page when it opens them."""
    for file in shard.glob("segments/*/vector_storage/vectors/*.mmap"):
        with contextlib.suppress(OSError):  # removed meanwhile, or the disk is full
            stat = file.stat()
            if stat.st_blocks * 512 < stat.st_size and hasattr(os, "posix_fallocate"):
                descriptor = os.open(file, os.O_RDWR)
                try:
                    os.posix_fallocate(descriptor, 0, stat.st_size)
                finally:
                    os.close(descriptor)


def length_bytes(folder: Path) -> int:
    """Total length of the files in a folder: the space a copy may need."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
