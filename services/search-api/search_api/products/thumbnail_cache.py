"""Thumbnails on disk, bounded in bytes: the ones that were not asked for longest go first. Several processes may share
the folder; a file appears whole or not at all. What cannot be kept is made again, so a disk that is full or cannot be
written costs time and nothing else.
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
# After this share of the bound was written the folder is looked through, and then emptied to the second share.
_LOOKED_THROUGH_AFTER: Final = 1 / 16
_EMPTIED_TO: Final = 0.9
# A file's time is when it was last asked for, to this precision: not each read is a write.
_TIME_PRECISION_S: Final = 3600.0


class ThumbnailCache:
    """At most about `max_bytes` in `folder`, which is made when the first one comes; 0 keeps none. Used by threads."""

    def __init__(self, folder: Path, *, max_bytes: int, reserve_bytes: int = 0) -> None:
        """`reserve_bytes` stay free on the disk: what would go below is not kept."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._unseen_bytes = max_bytes  # so that the first one has the folder looked through
        self._lock = threading.Lock()
        self._failed = False

    def get(self, digest: str, width_px: int) -> bytes | None:
        """The thumbnail of the picture with this SHA-256, if it is kept."""
        path = self._path(digest, width_px)
        try:
            data = path.read_bytes()
            if time.time() - path.stat().st_mtime > _TIME_PRECISION_S:
                os.utime(path)
        except OSError:
            return None
        return data or None

    def put(self, digest: str, width_px: int, data: bytes) -> None:
        """Keep a thumbnail, and make room where there are too many."""
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
