"""Becomes the command it is given, after tying its life to the supervisor's: the kernel kills it when the supervisor
ends, however that ends. It runs as a bare script (`python -I -S launch.py SUPERVISOR_PID COMMAND...`) and replaces
itself, so the process id that the supervisor sees is the service's own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    supervisor_pid, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor_pid:  # it ended before the tie was made
        sys.exit(1)
    # Python ignores this signal, and what is ignored stays ignored through exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own list, no shell


if __name__ == "__main__":
    main()
