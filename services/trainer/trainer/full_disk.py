"""Reports a full disk as StorageFull, with the folder and the setting that names it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from trainer.settings import Settings
from vitrine.disk_space import free_bytes, is_full
from vitrine.errors import StorageFull
from vitrine.releases import ReleaseStore


@contextmanager
def reporting_full_disk(settings: Settings) -> Iterator[None]:
    """Raise StorageFull if the block fails because a disk is full."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _is_full(error):
            raise
        setting, folder = min(_written_folders(settings).items(), key=lambda item: free_bytes(item[1]))
        raise StorageFull(
            f"the disk that holds {folder} is full: make room, or set {setting} to a folder on another; "
            "what was written before is whole, and a training goes on from its last checkpoint"
        ) from error


def _is_full(error: OSError | SafetensorError) -> bool:
    # SafetensorError has no errno.
    return (isinstance(error, OSError) and is_full(error)) or "No space left" in str(error)


def _written_folders(settings: Settings) -> dict[str, Path]:
    """The folders that the trainer writes to on this machine, by the environment variable that sets them."""
    folders = {
        "VITRINE_WORK_DIR": settings.work_dir,
        "VITRINE_REPORTS_DIR": settings.reports_dir,
        "VITRINE_RELEASES_CACHE_DIR": settings.releases_cache_dir,
        "TMPDIR": Path(tempfile.gettempdir()),
    }
    releases = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir).folder
    return folders if releases is None else {**folders, "VITRINE_RELEASES_URL": releases}
