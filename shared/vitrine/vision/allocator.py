"""Memory that a CPU network frees is kept for its next pass."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8
# More than the activations of one pass on a CPU, so that only what an unloaded release leaves goes back to the system.
_KEPT_BYTES: Final = 512 * 1024 * 1024


def keep_freed_memory() -> None:
    """Let malloc serve large blocks from a heap that stays, instead of mapping and unmapping each.

    Every pass of a network allocates and frees tens of megabytes of activations. Mapped anew, each page of them faults
    once a pass, and the kernel takes a third of the time. One arena, because those of threads are unmapped as soon as
    they are empty. Elsewhere than on glibc nothing is done. Must run before the first large allocation.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT_BYTES)):
        mallopt(parameter, value)
