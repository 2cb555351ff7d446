"""How the local Redis runs: nothing acknowledged is lost (each write is in the append-only file before its answer),
nothing is evicted, and only a caller with the password gets in, for commands on data alone.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Final

from vitrine_local.errors import RedisMissing

# Jobs take some kilobytes each; a limit keeps a flood of them from taking the machine's memory.
MAX_MEMORY_BYTES: Final = 512 * 2**20
_VERSION: Final = re.compile(r"v=(\d+)\.(\d+)")
_ACCESS_LISTS_SINCE: Final = (6, 0)
_CHANNEL_PATTERNS_SINCE: Final = (6, 2)
# What the services, Celery and redis-py need: data, scripts and messages. CONFIG, DEBUG, MODULE, SAVE, SHUTDOWN,
# FLUSHALL, REPLICAOF, ACL, MONITOR and their like are in the categories left out, for everybody: no user has them.
RULES: Final = "+@all -@admin -@dangerous -script +script|load +script|exists +info"


def redis_command(binary: Path, *, folder: Path, host: str, port: int) -> tuple[str, ...]:
    """The command that serves `folder` on `host`:`port`, reading `redis_configuration` from standard input."""
    options = {
        "bind": host,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",  # the last write of a killed server may be half there
        "save": "",  # the append-only file is the truth; snapshots beside it would only cost time
        "maxmemory": str(MAX_MEMORY_BYTES),
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return (str(binary), "-", *(part for name, value in options.items() for part in (f"--{name}", value)))


def redis_configuration(binary: Path, *, password: str) -> bytes:
    """The part of the configuration that goes through standard input: who may come in and what they may do.

    Raises RedisMissing where the binary does not run or is too old for access lists.
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
        raise RedisMissing(f"{binary} is not a Redis server: its version reads {output.strip()[:80]!r}")
    return int(found[1]), int(found[2])
