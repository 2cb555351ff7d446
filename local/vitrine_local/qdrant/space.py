"""Room on the storage's disk, looked at before each write.

The engine writes through memory-mapped files that are longer than what they hold. Where the disk has no room for a page
of one, the kernel ends the process, so no write may come so far. Opening writes too: the engine applies its log again
and touches every page of the vectors. For that there is a ballast, a file that is given up when a start finds the disk
full, and the log that a start applies again is kept much shorter than it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from vitrine.disk_space import MIB, free_bytes
from vitrine_local.qdrant.errors import DiskFull

# A first file of vectors and a little of everything else.
NEW_COLLECTION_BYTES: Final = 40 * MIB
_BALLAST_FILE: Final = "ballast"
_MOST_BALLAST_BYTES: Final = 32 * MIB
_BALLAST_SHARE: Final = 4  # of the reserve
_UNFLUSHED_SHARE: Final = 4  # of the ballast


class Space:
    """The disk of a folder, of which `reserve_bytes` stay free, the ballast included."""

    def __init__(self, folder: Path, *, reserve_bytes: int) -> None:
        self._folder = folder
        self._ballast = folder / _BALLAST_FILE
        self._reserve_bytes = reserve_bytes
        self._ballast_bytes = min(_MOST_BALLAST_BYTES, reserve_bytes // _BALLAST_SHARE)
        self._unflushed_bytes = 0

    def has(self, needed_bytes: int = 0) -> bool:
        """Whether so many bytes can be written."""
        return free_bytes(self._folder) >= needed_bytes + self._reserve_bytes - self._held_bytes()

    def require(self, needed_bytes: int = 0) -> None:
        """Raises DiskFull, with the folder and the setting."""
        if not self.has(needed_bytes):
            raise DiskFull(
                f"No space left on device: {self._folder} has {free_bytes(self._folder) // MIB} MiB left, of which "
                f"{self._reserve_bytes // MIB} MiB stay free (VITRINE_DISK_RESERVE_MB); make room, or move it "
                "(`vitrine up --data`, --storage of the local Qdrant) to another disk"
            )

    def wrote(self, written_bytes: int) -> None:
        """Count what must be applied again after a crash."""
        self._unflushed_bytes += written_bytes

    @property
    def flush_is_due(self) -> bool:
        """Whether so much is unflushed that applying it again could take more room than the ballast gives."""
        return self._unflushed_bytes > self._ballast_bytes // _UNFLUSHED_SHARE

    def flushed(self) -> None:
        self._unflushed_bytes = 0

    def hold_ballast(self) -> None:
        """Take the ballast, where there is room for it."""
        if self._held_bytes() == self._ballast_bytes or free_bytes(self._folder) < 2 * self._ballast_bytes:
            return
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self._ballast_bytes)
            else:
                file.write(bytes(self._ballast_bytes))

    def release_ballast(self) -> None:
        """Give the ballast up where a start could need its room."""
        if free_bytes(self._folder) < self._ballast_bytes:
            self._ballast.unlink(missing_ok=True)

    def _held_bytes(self) -> int:
        try:
            return self._ballast.stat().st_size
        except FileNotFoundError:
            return 0


def allocate(shard: Path) -> None:
    """Allocate the full length of a shard's vector files on the disk: the engine touches all of it at opening."""
    for file in shard.glob("segments/*/vector_storage/vectors/*.mmap"):
        with contextlib.suppress(OSError):  # removed meanwhile, or there is no room
            known = file.stat()
            if known.st_blocks * 512 < known.st_size and hasattr(os, "posix_fallocate"):
                descriptor = os.open(file, os.O_RDWR)
                try:
                    os.posix_fallocate(descriptor, 0, known.st_size)
                finally:
                    os.close(descriptor)


def length_bytes(folder: Path) -> int:
    """The length of all files in a folder: what a copy may take of the disk."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
