"""Process-wide settings that make networks faster on a CPU. Programs that run networks call `configure_process`."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

# Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_M_ARENA_MAX: Final = -8
# More than the activations of one pass on a CPU, so that only an unloaded release gives memory back to the system.
_KEPT_BYTES: Final = 512 * 1024 * 1024


def configure_process() -> None:
    """Configure OpenMP and malloc. Call it at the start of a process, before torch is imported."""
    # Read once, when torch loads OpenMP. By default an idle thread spins: if another process takes one core, every
    # layer waits for a scheduling slice, and a picture takes a second instead of 20 ms.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let malloc serve large blocks from a heap that stays, instead of mapping and unmapping each (glibc only).

    Every pass of a network allocates and frees tens of megabytes of activations. If they are mapped anew, each page
    faults once a pass, and the kernel takes a third of the time. One arena, because the arenas of threads are unmapped
    as soon as they are empty.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEPT_BYTES)):
        mallopt(parameter, value)
