"""Repairs a damaged append-only file of Redis, so that Redis can always start.

An incomplete last command is normal after a kill, and Redis drops it. With zeros or garbage elsewhere Redis refuses to
start. Then a copy is set aside under a dated name, and Redis goes on with what `redis-check-aof --fix` keeps, which is
everything before the damage. If nothing can be kept, Redis starts empty. No data is deleted.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_SINGLE_FILE: Final = "appendonly.aof"  # Redis 6
_FOLDER: Final = "appendonlydir"  # since Redis 7
_MANIFEST: Final = "appendonly.aof.manifest"
_CHECK_TIMEOUT_S: Final = 300.0
_REFUSED: Final = re.compile(
    r"(Bad file format|Unknown command .*|Unexpected end of file|Unrecoverable error) reading the append only file"
    r"|Error reading the RDB preamble|Wrong RDB checksum|Invalid AOF manifest|AOF .*file .*(not found|doesn't exist)"
)
# Redis uses the same messages if it runs out of memory.
_PERHAPS_REFUSED: Final = re.compile(r"Short read or OOM loading DB|Internal error in RDB reading|RDB.* aborting")
_REBUILD: Final = (
    "jobs and work queued after the damage are gone, products and releases are not: "
    "repeat what was running, e.g. `vitrine index`"
)


def repair_append_only_file(binary: Path, folder: Path, last_lines: Sequence[str]) -> str | None:
    """Repair what Redis refused to load. `last_lines` of its output show why it ended.

    Returns a sentence that says what was done; None if Redis ended for another reason. Raises OSError if the folder
    cannot be written.
    """
    output = "\n".join(last_lines)
    data = folder / _FOLDER if (folder / _FOLDER).exists() else folder / _SINGLE_FILE
    if not (_REFUSED.search(output) or _PERHAPS_REFUSED.search(output)) or not data.exists():
        return None
    aside = _free_name(data)
    checked = data / _MANIFEST if data.is_dir() else data
    if _check(binary, checked):  # valid, but refused, for example because of an unknown command
        if not _REFUSED.search(output):
            return None
        data.rename(aside)
        return f"Redis does not load {data.name}: it is set aside as {aside}, and Redis starts empty; {_REBUILD}"
    try:
        _copy(data, aside)
    except OSError:  # no space for a copy
        _remove(aside)
        data.rename(aside)
        return f"{data.name} is damaged: it is set aside as {aside}, and Redis starts empty; {_REBUILD}"
    if _check(binary, checked, "--fix"):
        return f"{data.name} is damaged: a copy is set aside as {aside}, and all before the damage is kept; {_REBUILD}"
    _remove(data)  # the copy is complete
    return f"{data.name} is damaged: it is set aside as {aside}, and Redis starts empty; {_REBUILD}"


def _check(binary: Path, file: Path, *options: str) -> bool:
    """Whether the file is valid, or with `--fix` was made valid. The server's own binary is also the checker."""
    try:
        done = subprocess.run(
            ["redis-check-aof", *options, str(file)],  # noqa: S607 - the name chooses the mode, `executable` the file
            executable=binary,
            input=b"y\n",
            capture_output=True,
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _free_name(path: Path) -> Path:
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    names = (f"{path.name}.damaged-{stamp}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
