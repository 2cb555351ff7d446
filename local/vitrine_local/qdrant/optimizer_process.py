"""The child process that builds search graphs: `python -m vitrine_local.qdrant.optimizer_process FOLDER PARENT_PID`.

It reads the collection's options from standard input and works on a copy of a shard that nothing else uses. It can be
killed at any time; the copy is then thrown away. It dies with its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Final

import qdrant_edge

from vitrine_local.parent_death import die_with_parent
from vitrine_local.qdrant.engine import engine_config

_NICENESS: Final = 5
# One pass is enough. The limit is there in case the engine finds more work each time.
_MAX_PASSES: Final = 4
# Exit status if the copy did not change.
NOTHING_TO_DO: Final = 3


def main() -> None:
    folder, parent_pid = sys.argv[1], int(sys.argv[2])
    # Ctrl-C reaches the whole process group. The parent kills this process when it stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent_pid)
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
