"""Check the free disk space before a write, so that a full disk refuses new work and breaks nothing else."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Final

from vitrine.errors import StorageFull

MIB: Final = 1024 * 1024
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def free_bytes(folder: Path) -> int:
    """The free bytes of the disk of `folder`, which need not exist yet."""
    existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(existing).free


def is_full(error: OSError) -> bool:
    """Whether the disk or the user's quota is full."""
    return error.errno in _FULL


def require_space(folder: Path, needed_bytes: int, *, reserve_bytes: int, setting: str) -> None:
    """Raises StorageFull if a write of `needed_bytes` would leave less than the reserve. The message names the folder
    and its setting.
    """
    free = free_bytes(folder)
    if free < needed_bytes + reserve_bytes:
        raise storage_full(folder, setting=setting, free=free, reserve_bytes=reserve_bytes)


def storage_full(folder: Path, *, setting: str, free: int, reserve_bytes: int) -> StorageFull:
    """The error for a folder whose disk has no room."""
    return StorageFull(
        f"the disk of {folder} is full: {free // MIB} MiB are free, of which {reserve_bytes // MIB} are reserved "
        f"(VITRINE_DISK_RESERVE_MB); free some space, or set {setting} to a folder on another disk"
    )
