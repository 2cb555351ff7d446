"""Ends a process when its parent ends, however that happens (on Linux, through PR_SET_PDEATHSIG).

A process that runs our code calls `die_with_parent`. Any other command is started through this file as a bare script,
`python -I -S parent_death.py PARENT_PID COMMAND...`: it replaces itself with the command, so the process id stays the
same. It therefore uses the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends. Exits with status 1 if the parent has already ended.

    Outside Linux only that check is made. The kernel watches the thread that created this process, so start it from the
    parent's main thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit(1)


def main() -> None:
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    die_with_parent(parent_pid)
    # Python ignores SIGPIPE, and an ignored signal stays ignored after exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own argument list, no shell


if __name__ == "__main__":
    main()
