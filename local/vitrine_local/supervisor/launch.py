"""Becomes the command it is given, after tying its life to the supervisor's: the kernel kills it when the supervisor
ends, however that ends. It runs as a bare script (`python -I -S launch.py SUPERVISOR_PID NICENESS COMMAND...`) and
replaces itself, so the process id that the supervisor sees is the service's own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_AUTOGROUP = "/proc/self/autogroup"
_AUTOGROUP_TRIES = 10
_AUTOGROUP_WAIT_S = 0.12  # the kernel takes one such change in a tenth of a second


def main() -> None:
    supervisor_pid, niceness, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor_pid:  # it ended before the tie was made
        sys.exit(1)
    # Python ignores this signal, and what is ignored stays ignored through exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if niceness:
        give_way(niceness)
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own list, no shell


def give_way(niceness: int) -> None:
    """Let processes of less niceness go first on the processor, for this process and its children.

    Linux compares niceness inside a session only where it groups tasks by session (autogroup, the default of most
    distributions), and each service has a session of its own: there the group as a whole is made as nice.
    """
    reached = os.nice(niceness)
    for _ in range(_AUTOGROUP_TRIES):
        try:
            with open(_AUTOGROUP, "w") as file:  # noqa: PTH123 - a bare script, started without what pathlib costs
                file.write(str(reached))
        except BlockingIOError:
            time.sleep(_AUTOGROUP_WAIT_S)
        except OSError:  # no such grouping here
            return
        else:
            return


if __name__ == "__main__":
    main()
