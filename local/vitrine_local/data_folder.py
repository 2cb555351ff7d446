"""The folder everything of one local system lies under, and the two promises it keeps: one system at a time works on it
(a lock that dies with its holders), and whoever knows the folder finds the running system (`run.json`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from vitrine_local.errors import DataFolderInUse, DataFolderUnusable, UsageInvalid

# A system that was killed leaves its watchdog to hold the lock until the services are gone, which takes moments.
LOCK_PATIENCE_S = 3.0
_LOCK_POLL_S = 0.05


class RunRecord(BaseModel):
    """`run.json`: where the running system answers, which ports it took and which processes it is made of."""

    url: str
    ready: bool = False
    started_at: str
    supervisor_pid: int
    ports: dict[str, int]
    pids: dict[str, int]


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths under one data folder. `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> DataFolder:
        return cls(Path(os.path.abspath(path.expanduser())))  # noqa: PTH100 - links stay as the user wrote them

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def qdrant(self) -> Path:
        return self.root / "qdrant"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run_file(self) -> Path:
        return self.root / "run.json"

    @property
    def catalog_roots_file(self) -> Path:
        return self.root / "catalog-roots.txt"

    def create(self) -> None:
        """Make the folders. Raises DataFolderUnusable where that is impossible."""
        try:
            for folder in (
                self.redis,
                self.qdrant,
                self.releases,
                self.uploads,
                self.cache,
                self.work,
                self.reports,
                self.logs,
            ):
                folder.mkdir(parents=True, exist_ok=True)
            self.catalog_roots_file.touch()
        except OSError as error:
            raise DataFolderUnusable(f"the data folder {self.root} cannot be used: {error}") from error

    @contextlib.contextmanager
    def lock(self, *, patience_s: float = LOCK_PATIENCE_S) -> Iterator[int]:
        """Hold the folder. Yields the lock's file descriptor, which a process may inherit to hold it as well.

        Raises DataFolderInUse when another system still holds it after `patience_s`.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline_s = time.monotonic() + patience_s
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline_s:
                    run = self.read_run()
                    where = f" at {run.url} (process {run.supervisor_pid})" if run else ""
                    raise DataFolderInUse(
                        f"another Vitrine already runs on {self.root}{where}; "
                        "stop it, or give this one a folder of its own with --data"
                    )
                time.sleep(_LOCK_POLL_S)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Does a system run on this folder now?"""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def write_run(self, run: RunRecord) -> None:
        """Replace `run.json` in one step."""
        temporary = self.run_file.with_name(f".run.json.{os.getpid()}")
        temporary.write_text(run.model_dump_json(indent=2) + "\n")
        temporary.replace(self.run_file)

    def read_run(self) -> RunRecord | None:
        """The record of the system that runs or last ran here; None where none did or it stopped in order."""
        try:
            return RunRecord.model_validate_json(self.run_file.read_text())
        except (OSError, ValidationError):
            return None

    def allowed_roots(self) -> tuple[Path, ...]:
        """The catalogue roots that were allowed here, oldest first."""
        try:
            lines = self.catalog_roots_file.read_text().splitlines()
        except OSError:
            return ()
        return tuple(Path(line) for line in lines if line and not line.startswith("#"))

    def allow_root(self, folder: Path) -> Path:
        """Let the services read catalogues under `folder`, from now on. Returns its resolved path.

        Raises UsageInvalid where `folder` is not a folder.
        """
        resolved = folder.expanduser().resolve()
        if not resolved.is_dir():
            raise UsageInvalid(f"{folder} is not a folder")
        return self._allow(resolved)

    def allow_file(self, file: Path) -> Path:
        """Let the services read this one file, from now on. Returns its resolved path.

        Raises UsageInvalid where `file` is not a file.
        """
        resolved = file.expanduser().resolve()
        if not resolved.is_file():
            raise UsageInvalid(f"{file} is not a file")
        return self._allow(resolved)

    def _allow(self, resolved: Path) -> Path:
        if "\n" in str(resolved):
            raise UsageInvalid(f"{resolved!s:.80} cannot be allowed: its name holds a line break")
        with self.catalog_roots_file.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if resolved not in self.allowed_roots():
                # One short write in append mode: a service that reads meanwhile sees the line whole or not at all.
                file.write(f"{resolved}\n")
                file.flush()
                os.fsync(file.fileno())
        return resolved


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
