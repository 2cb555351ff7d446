"""Checks shards in a child process before the server opens them.

The engine reads its files through memory maps, and a damaged file can kill the process that opens it. The child,
`python -m vitrine_local.qdrant.shard_check PARENT_PID FOLDER...`, opens one folder after the other and writes one line
of JSON for each: its number, and the reason it is damaged or null. If the child dies, the next folder in the list is
the cause, and a new child goes on after it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import qdrant_edge

from vitrine_local.errors import StorageUnusable
from vitrine_local.parent_death import die_with_parent

BUS_ERROR: Final = f"signal {signal.SIGBUS.value}"
_SAMPLE_POINTS: Final = 100
_FATAL_SIGNALS: Final = frozenset({signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})
# No memory, no permission, no file descriptors, no disk space, and files that another process has locked.
_NO_DAMAGE: Final = re.compile(r"\(os error (11|12|13|23|24|28|30|35|122)\)|MemoryError")


def damaged_shards(folders: Sequence[Path]) -> Mapping[Path, str]:
    """The damaged shards, each with the reason, which starts with `signal` if a signal killed the child.

    Raises StorageUnusable if a shard cannot be opened for another reason than damaged files.
    """
    damaged: dict[Path, str] = {}
    start = 0
    while start < len(folders):
        rest = folders[start:]
        child = subprocess.run(
            [sys.executable, "-m", __name__, str(os.getpid()), *map(str, rest)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        tried = [json.loads(line) for line in child.stdout.splitlines() if line.endswith("}")]
        damaged |= {rest[each["number"]]: each["reason"] for each in tried if each["reason"] is not None}
        start += len(tried)
        if start < len(folders):
            last_output = child.stderr.strip()[-300:]
            if -child.returncode not in _FATAL_SIGNALS:
                how = f"ended with {child.returncode}: {last_output}"
                raise StorageUnusable(f"the process that checks the collections' files {how}")
            damaged[folders[start]] = f"signal {-child.returncode} ended the process that opened it. {last_output}"
            start += 1
    for folder, reason in damaged.items():
        if _NO_DAMAGE.search(reason):
            raise StorageUnusable(f"{folder} cannot be opened: {reason}")
    return damaged


def _reason(folder: str) -> str | None:
    """Why a shard is damaged, or None."""
    try:
        shard = qdrant_edge.EdgeShard.load(folder)
        shard.count(qdrant_edge.CountRequest(True, None))
        request = qdrant_edge.ScrollRequest(limit=_SAMPLE_POINTS, with_payload=True, with_vector=True)
        points, _ = shard.scroll(request)
        if points:
            nearest = qdrant_edge.Query.Nearest(points[0].vector)  # type: ignore[arg-type]
            shard.query(qdrant_edge.QueryRequest(limit=_SAMPLE_POINTS, query=nearest))
        shard.close()
    except BaseException as error:  # the engine's panics are not Exceptions
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    # The parent handles the signals to stop. Here they must not look like damage.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    die_with_parent(int(sys.argv[1]))
    for number, folder in enumerate(sys.argv[2:]):
        sys.stdout.write(json.dumps({"number": number, "reason": _reason(folder)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
