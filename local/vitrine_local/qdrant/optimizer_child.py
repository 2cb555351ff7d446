"""The child that builds search graphs: `python -m vitrine_local.qdrant.optimizer_child FOLDER PARENT_PID`.

It gets the collection's options on standard input, works on a copy of a shard that nobody else touches, and may be
killed at any moment: the copy is then thrown away. It dies with its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Final

import qdrant_edge

from vitrine_local.qdrant.engine_config import engine_config

_PR_SET_PDEATHSIG: Final = 1
_NICENESS: Final = 5
# One pass does all there is to do; the bound is there should the engine ever see more at each look.
_MAX_PASSES: Final = 4
# Exit status that says that the copy is as it was.
NOTHING_TO_DO: Final = 3


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends. Elsewhere than on Linux it finishes unheard instead."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)


def main() -> None:
    folder, parent_pid = sys.argv[1], int(sys.argv[2])
    # The parent's signals are not ours: it kills us itself when it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with(parent_pid)
    os.nice(_NICENESS)
    options = json.load(sys.stdin)
    shard = qdrant_edge.EdgeShard.load(folder, engine_config(options))
    optimized = False
    for _ in range(_MAX_PASSES):
        if not shard.optimize():
            break
        optimized = True
    shard.flush()
    shard.close()
    sys.exit(0 if optimized else NOTHING_TO_DO)


if __name__ == "__main__":
    main()
