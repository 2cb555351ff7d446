"""Outlives the supervisor just long enough to kill what it left behind. It reads `+GROUP` and `-GROUP` lines from
standard input; when that ends, it kills every group still listed. It inherits the data folder's lock and holds it until
then, so that a next system never meets processes of this one. Runs as a bare script, standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable


def groups_left(lines: Iterable[str]) -> set[int]:
    """The process groups that were added and not taken away."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def main() -> None:
    # The terminal's signals are the supervisor's business; this process ends when its input does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in groups_left(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
