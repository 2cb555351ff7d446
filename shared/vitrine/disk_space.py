"""Room on a disk: looked at before a write, so that a full disk refuses new work and takes nothing down."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Final

from vitrine.errors import StorageFull

MIB: Final = 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def free_bytes(folder: Path) -> int:
    """Of the disk that holds `folder`, or will once it is made."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in _FULL


def require_space(folder: Path, needed_bytes: int, *, reserve_bytes: int, setting: str) -> None:
    """Raise StorageFull, naming the folder and its setting, where a write of so many bytes would leave less than the
    reserve.
    """
    free = free_bytes(folder)
    if free < needed_bytes + reserve_bytes:
        raise storage_full(folder, setting=setting, free=free, reserve_bytes=reserve_bytes)


def storage_full(folder: Path, *, setting: str, free: int, reserve_bytes: int) -> StorageFull:
    """The error for a folder whose disk has no room."""
    return StorageFull(
        f"the disk that holds {folder} is full: {free // MIB} MiB are left, of which {reserve_bytes // MIB} stay free "
        f"(VITRINE_DISK_RESERVE_MB); make room, or set {setting} to a folder on another disk"
    )
