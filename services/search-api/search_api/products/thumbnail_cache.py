"""An LRU cache of thumbnails on disk, bounded in bytes. Several processes may share the folder; files are written
atomically. A thumbnail that cannot be stored is made again, so a full or read-only disk only costs time.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from vitrine.atomic_write import write_bytes
from vitrine.disk_space import free_bytes
from vitrine.telemetry import get_logger

_SUFFIX: Final = ".webp"
# After this share of the bound has been written the folder is scanned, and files are removed down to the second share.
_LOOKED_THROUGH_AFTER: Final = 1 / 16
_EMPTIED_TO: Final = 0.9
# A file's modification time is its last use, to this precision, so that not every read is a write.
_TIME_PRECISION_S: Final = 3600.0


class ThumbnailCache:
    """Keeps about `max_bytes` in `folder`, which is created on first use; 0 disables the cache. Thread-safe."""

    def __init__(self, folder: Path, *, max_bytes: int, reserve_bytes: int = 0) -> None:
        """Nothing is stored that would leave less than `reserve_bytes` free on the disk."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._unseen_bytes = max_bytes  # so that the first write scans the folder
        self._lock = threading.Lock()
        self._failed = False

    def get(self, digest: str, width_px: int) -> bytes | None:
        """The thumbnail of the picture with this SHA-256, or None."""
        path = self._path(digest, width_px)
        try:
            data = path.read_bytes()
            if time.time() - path.stat().st_mtime > _TIME_PRECISION_S:
                os.utime(path)
        except OSError:
            return None
        return data or None

    def put(self, digest: str, width_px: int, data: bytes) -> None:
        """Store a thumbnail, and remove old ones above the bound."""
        if not self._max_bytes:
            return
        path = self._path(digest, width_px)
        try:
            if free_bytes(self._folder) < len(data) + self._reserve_bytes:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, data, durable=False)
            with self._lock:
                self._unseen_bytes += len(data)
                due = self._unseen_bytes >= self._max_bytes * _LOOKED_THROUGH_AFTER
                if due:
                    self._unseen_bytes = 0
            if due:
                self._make_room()
        except OSError as error:
            if not self._failed:
                self._failed = True
                get_logger("thumbnails").warning("thumbnail_not_kept", folder=str(self._folder), reason=str(error))

    def _make_room(self) -> None:
        found = []
        for path in self._folder.glob("*/*"):
            with suppress(OSError):  # another process removed it
                facts = path.stat()
                found.append((facts.st_mtime, facts.st_size, path))
        total_bytes = sum(size for _, size, _ in found)
        if total_bytes <= self._max_bytes:
            return
        for _, size, path in sorted(found):
            if total_bytes <= self._max_bytes * _EMPTIED_TO:
                return
            with suppress(OSError):
                path.unlink()
            total_bytes -= size

    def _path(self, digest: str, width_px: int) -> Path:
        return self._folder / digest[:2] / f"{digest}-{width_px}{_SUFFIX}"
