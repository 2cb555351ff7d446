"""The data folder of one local system. Only its owner can read it, a lock lets one system at a time use it, and
`run.json` describes the running system to other commands.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from vitrine.atomic_write import write_text
from vitrine_local.errors import DataFolderInUse, DataFolderUnusable, UsageInvalid
from vitrine_local.secrets import OWNER_ONLY, LocalSecrets, load_or_create_secrets, read_secrets

# After a system was killed, its reaper holds the lock for a moment, until the services are gone.
LOCK_TIMEOUT_S = 3.0
_LOCK_POLL_S = 0.05
_OWNER_ONLY = stat.S_IRWXU
_ANYBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO


class ServiceRecord(BaseModel):
    """One service in `run.json`: its state, since when, and the reason of the last failure."""

    state: str
    since: str
    deaths: int = 0
    reason: str | None = None

    @property
    def in_trouble(self) -> bool:
        """Whether it was ready once and does not work now."""
        return self.state in ("restarting", "silent")


class RunRecord(BaseModel):
    """`run.json`: the URL, ports and processes of the running system. `ready` is true while every service is ready."""

    url: str
    ready: bool = False
    started_at: str
    supervisor_pid: int
    ports: dict[str, int]
    pids: dict[str, int]
    services: dict[str, ServiceRecord] = {}


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths in one data folder. `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> DataFolder:
        return cls(Path(os.path.abspath(path.expanduser())))  # noqa: PTH100 - keeps symbolic links

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
    def downloads(self) -> Path:
        return self.root / "downloads"

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
    def secrets_file(self) -> Path:
        return self.root / "secrets.json"

    @property
    def catalog_roots_file(self) -> Path:
        return self.root / "catalog-roots.txt"

    def create(self) -> None:
        """Create the folders, for their owner only. Raises DataFolderUnusable."""
        folders = (
            self.redis, self.qdrant, self.releases, self.uploads, self.downloads, self.cache, self.work, self.reports,
            self.logs,
        )  # fmt: skip
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
            self._restrict_to_owner(folders)
            for folder in folders:
                _move_aside_unless_folder(folder)
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise DataFolderUnusable(f"the data folder {self.root} cannot be used: {error}") from error
        with contextlib.suppress(OSError):  # without the file no catalogue root is allowed
            self.catalog_roots_file.touch()

    def _restrict_to_owner(self, folders: tuple[Path, ...]) -> None:
        """Remove other users' access. A shared folder with other content is refused and left unchanged."""
        mode = stat.S_IMODE(self.root.stat().st_mode)
        if not mode & _ANYBODY_ELSE:
            return
        shared = mode & stat.S_ISVTX or mode & stat.S_IWOTH
        if shared and any(self.root.iterdir()) and not any(folder.is_dir() for folder in folders):
            raise DataFolderUnusable(f"{self.root} is shared with others: give Vitrine a folder of its own with --data")
        self.root.chmod(_OWNER_ONLY)

    @contextlib.contextmanager
    def lock(self, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[int]:
        """Lock the folder. Yields the lock's file descriptor; a child process that inherits it holds the lock too.

        Raises DataFolderInUse if another system still holds it after `timeout_s`, and DataFolderUnusable.
        """
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
        except OSError as error:
            raise DataFolderUnusable(f"the data folder {self.root} cannot be locked: {error}") from error
        try:
            deadline_s = time.monotonic() + timeout_s
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
        """Whether a system runs on this folder now."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def write_run(self, run: RunRecord) -> None:
        """Replace `run.json` atomically; only the owner can read it. Raises OSError."""
        # Without fsync: after a power cut no process of this run is left.
        write_text(self.run_file, run.model_dump_json(indent=2) + "\n", mode=OWNER_ONLY, durable=False)

    def read_run(self) -> RunRecord | None:
        """The record of the system that runs here or was killed here; None if it is missing or damaged."""
        try:
            return RunRecord.model_validate_json(self.run_file.read_bytes())
        except (OSError, ValidationError):
            return None

    def remove_run(self) -> None:
        """Remove `run.json` after a graceful shutdown. If that fails, readers still see that the lock is free."""
        with contextlib.suppress(OSError):
            self.run_file.unlink(missing_ok=True)

    def load_or_create_secrets(self) -> LocalSecrets:
        """The secrets between this folder's services, created at the first call."""
        return load_or_create_secrets(self.secrets_file)

    def read_secrets(self) -> LocalSecrets | None:
        """The secrets for a client; None if no system has run here yet."""
        return read_secrets(self.secrets_file)

    def allowed_roots(self) -> tuple[Path, ...]:
        """The allowed catalogue roots, oldest first."""
        try:
            lines = os.fsdecode(self.catalog_roots_file.read_bytes()).splitlines()
        except OSError:
            return ()
        return tuple(Path(line) for line in lines if line and not line.startswith("#"))

    def allow_root(self, folder: Path) -> Path:
        """Allow the services to read catalogues under `folder`. Returns its resolved path.

        Raises UsageInvalid if it is not a folder, and DataFolderUnusable.
        """
        resolved = folder.expanduser().resolve()
        if not resolved.is_dir():
            raise UsageInvalid(f"{folder} is not a folder")
        return self._allow(resolved)

    def allow_file(self, file: Path) -> Path:
        """Allow the services to read this one file. Returns its resolved path.

        Raises UsageInvalid if it is not a file, and DataFolderUnusable.
        """
        resolved = file.expanduser().resolve()
        if not resolved.is_file():
            raise UsageInvalid(f"{file} is not a file")
        return self._allow(resolved)

    def _allow(self, resolved: Path) -> Path:
        if "\n" in str(resolved):
            raise UsageInvalid(f"{resolved!s:.80} cannot be allowed: its name contains a line break")
        try:
            with self.catalog_roots_file.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if resolved not in self.allowed_roots():
                    # One short write in append mode: a service that reads meanwhile sees the whole line or nothing.
                    file.write(os.fsencode(f"{resolved}\n"))
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            raise DataFolderUnusable(f"{resolved} cannot be added to {self.catalog_roots_file}: {error}") from error
        return resolved


def _move_aside_unless_folder(path: Path) -> None:
    """Rename a file that is in the place of a folder, so that the folder can be created."""
    if path.exists() and not path.is_dir():
        path.rename(path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}"))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
